from __future__ import annotations

import base64
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.model.images.decoding import FEATURES, read_image
from pipeline.model.images.headers import ImageError
from pipeline.model.images.rules import NAMES, ImageRule, owner_of
from pipeline.ui.examples.digits import write_png

pytestmark = pytest.mark.extra("images")


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def scene(side: int = 40) -> Any:
    """Gray values with corners and edges."""
    image = np.random.default_rng(2).integers(0, 60, (side, side))
    image[8:20, 8:20] = 240
    image[25:35, 20:38] = 160
    return image


def encode(ending: str, image: Any) -> bytes:
    import cv2

    done, content = cv2.imencode(ending, image.astype(np.uint8))
    assert done
    return bytes(content.tobytes())


def png(chunks: Sequence[tuple[bytes, bytes]]) -> bytes:
    parts = (struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
             for kind, body in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


TOGETHER = """
import threading
from concurrent.futures import ThreadPoolExecutor
from pipeline.model.images.rules import ImageRule
from pipeline.model.images.decoding import read_image

together = threading.Barrier(8)

def read(_):
    together.wait()
    return read_image(IMAGE, ImageRule())[0]

with ThreadPoolExecutor(8) as pool:
    assert set(pool.map(read, range(8))) == {0.2}
"""


def test_the_first_images_of_several_partitions_may_be_read_at_once() -> None:
    code = f"IMAGE = {text(write_png(np.full((8, 8), 51)))!r}\n{TOGETHER}"
    for _ in range(3):  # without a lock, OpenCV's import was met half done about every other time
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)


@pytest.mark.parametrize("color", ["gray", "rgb"])
@pytest.mark.parametrize("feature", FEATURES)
def test_an_image_gives_a_number_for_each_name_and_the_same_ones_again(feature: str, color: str) -> None:
    rule = ImageRule((feature,), (32, 24), color)
    numbers = read_image(text(write_png(scene())), rule)
    names = rule.names("photo")
    assert numbers.shape == (len(names),)
    assert len(set(names)) == len(names)
    assert np.isfinite(numbers).all()
    assert numbers.any()
    np.testing.assert_array_equal(numbers, read_image(text(write_png(scene())), rule))


def test_every_feature_has_names() -> None:
    assert list(FEATURES) == list(NAMES)


def test_pixels_stand_channel_by_channel_from_0_to_1() -> None:
    rule = ImageRule(("pixels",), (4, 4), "rgb")
    image = np.zeros((4, 4, 3))
    image[1, 2] = (255, 0, 51)  # blue, green, red
    numbers = dict(zip(rule.names("p"), read_image(text(encode(".png", image)), rule), strict=True))
    assert {name: value for name, value in numbers.items() if value} == {"p[0,1,2]": 0.2, "p[2,1,2]": 1.0}


def test_several_features_stand_side_by_side() -> None:
    both = ImageRule(("histogram", "edges"), (16, 16), bins=4)
    numbers = read_image(text(write_png(scene())), both)
    assert len(numbers) == 4 + 16
    assert numbers[:4].sum() == pytest.approx(1)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".jpg", ".webp"])
def test_each_format_is_read(ending: str) -> None:
    rule = ImageRule(("pixels",), (40, 40))
    numbers = read_image(text(encode(ending, scene())), rule)
    assert np.abs(numbers - scene().ravel() / 255).max() < (0.2 if ending == ".jpg" else 1e-9)


BOMB = png([(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")])  # fmt: skip
WHOLE = write_png(scene())


def webp(kind: bytes, body: bytes) -> bytes:
    chunks = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


WEBP_BOMBS = {
    "lossy": (webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16_000, 15_000)), "16,000 × 15,000"),
    "lossless": (webp(b"VP8L", b"\x2f" + struct.pack("<I", 15_999 | 14_999 << 14)), "16,000 × 15,000"),
    "extended": (webp(b"VP8X", bytes(4) + (59_999 | 49_999 << 24).to_bytes(6, "little")), "60,000 × 50,000"),
}


@pytest.mark.parametrize("kind", WEBP_BOMBS)
def test_a_webp_that_claims_too_much_is_refused_before_it_is_decoded(kind: str) -> None:
    content, claimed = WEBP_BOMBS[kind]
    with pytest.raises(ImageError, match=f"an image of 1 to 40,000,000 pixels, not {claimed}"):
        read_image(text(content), ImageRule())


@pytest.mark.parametrize("quality", [80, 101], ids=["lossy", "lossless"])
def test_the_size_of_a_webp_is_what_opencv_decodes(quality: int) -> None:
    import cv2

    colors = np.random.default_rng(1).integers(0, 255, (30, 50, 3)).astype(np.uint8)
    content = bytes(cv2.imencode(".webp", colors, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes())
    assert content[12:16] == (b"VP8 " if quality == 80 else b"VP8L")
    numbers = read_image(text(content), ImageRule(("pixels",), (30, 50), "rgb"))
    if quality > 100:
        assert np.array_equal(numbers.reshape(3, 30, 50) * 255, colors.transpose(2, 0, 1)[::-1])
    with pytest.raises(ImageError, match="not cut off"):
        read_image(text(content[:-9]), ImageRule())


REFUSED = [
    (text(webp(b"VP8X", b"\x02" + bytes(9))), "an image that does not move"),
    (text(b"RIFF" + struct.pack("<I", 8) + b"WAVEfmt "), "a PNG, JPEG, WebP or BMP image"),
    (text(b"RIFF"), "an image that is not cut off"),
    ("no base64!", "an image in base64"),
    (text(WHOLE)[:40] + "\n" + text(WHOLE)[40:], "an image in base64"),
    (text(WHOLE).rstrip("=")[:-1], "an image in base64"),
    ("-_" + text(WHOLE)[2:], "an image in base64"),
    ("é" + text(WHOLE)[1:], "an image in base64"),
    (text(b""), "a PNG, JPEG, WebP or BMP image"),
    (text(b"GIF89a..."), "a PNG, JPEG, WebP or BMP image"),
    (text(WHOLE[:-20]), "an image that is not cut off"),
    (text(WHOLE[:200] + bytes([WHOLE[200] ^ 1]) + WHOLE[201:]), "an image that is not damaged"),
    (text(BOMB), "an image of 1 to 40,000,000 pixels, not 60,000 × 60,000"),
    (text(png([(b"IHDR", struct.pack(">IIBBBBB", 0, 5, 8, 0, 0, 0, 0)), (b"IEND", b"")])), "not 0 × 5"),
    (text(b"\xff\xd8\xff\xe0\0\x10" + bytes(40)), "an image that is not cut off"),
    (text(b"BM" + struct.pack("<I12xii", 10**6, 9, 9) + bytes(40)), "an image that is not cut off"),
    ("A" * 50_000_000, "an image of at most 32 MiB"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_no_whole_image_is_refused_before_it_is_decoded(given: str, message: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(given, ImageRule())
    assert message in str(caught.value)


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp"])
def test_no_damage_passes_but_as_an_image_error(ending: str) -> None:
    whole, draw = encode(ending, scene(24)), np.random.default_rng(7)
    for _ in range(300):
        content = bytearray(whole)
        for place in draw.integers(0, len(content), 3):
            content[place] = draw.integers(256)
        cut = bytes(content[: draw.integers(1, len(content) + 1)])
        try:
            assert np.isfinite(read_image(text(cut), ImageRule())).all()
        except ImageError:
            continue


def test_the_part_of_an_image_knows_its_owner() -> None:
    assert owner_of("photo[0,1,2]", {"photo"}) == "photo"
    assert owner_of("price[usd]", {"photo"}) == "price[usd]"


@pytest.mark.parametrize("text", ["AAAA\n", "AA AA", "A===", "AAAA=", "é", '"AAAA"', "QQ==QQ=="])
def test_what_is_no_base64_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="an image in base64"):
        read_image(text, ImageRule())


@pytest.mark.parametrize("size", [(32, 24), (9, 7), (3, 2)])
def test_gradients_edges_and_histograms_are_those_of_their_formulas(size: tuple[int, int]) -> None:
    import cv2

    content = write_png(scene())
    rule = ImageRule(("hog", "edges", "histogram"), size, bins=7)
    image = cv2.resize(cv2.imdecode(np.frombuffer(content, np.uint8), 0), size[::-1], interpolation=cv2.INTER_AREA)
    across, down = (cv2.Sobel(image, cv2.CV_64F, *each, ksize=1) for each in ((1, 0), (0, 1)))
    cells = np.zeros((max(size[0] // 8, 1), max(size[1] // 8, 1), 9))
    for y, x in np.ndindex(*size):
        angle = int((np.arctan2(down[y, x], across[y, x]) / np.pi) % 1 * 9)
        cell = min(y // 8, cells.shape[0] - 1), min(x // 8, cells.shape[1] - 1)
        cells[(*cell, min(angle, 8))] += np.hypot(across[y, x], down[y, x])
    hog = cells / (np.linalg.norm(cells, axis=2, keepdims=True) + 1e-6)
    found = cv2.Canny(image, 100, 200) > 0
    fields = [part for row in np.array_split(found, 4) for part in np.array_split(row, 4, axis=1)]
    edges = [part.mean() if part.size else 0.0 for part in fields]
    histogram = np.bincount(image.ravel().astype(int) * 7 // 256, minlength=7) / image.size
    np.testing.assert_allclose(read_image(text(content), rule), [*hog.ravel(), *edges, *histogram], rtol=1e-12)
