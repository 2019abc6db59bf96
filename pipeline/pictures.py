"""Images: from the bytes of a file to numbers, by the same code in training and in serving.

An image comes in as a file or as base64 text and is refused before it is decoded if it is larger than anybody needs.
OpenCV decodes it and takes it apart; everything it gives is a column of its own, such as ``photo[0,3,5]``.
"""

from __future__ import annotations

import base64
import os
import struct
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.extras import require
from pipeline.picture_rules import EDGE_GRID, HOG_ANGLES, HOG_CELL, ImageRule, hog_shape

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 40_000_000
"""Of one image; a file of a few kilobytes can claim to hold many thousand times as much."""

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float64]

_LOADING = RLock()
"""OpenCV takes itself out of the loaded modules while it is imported, which another thread must not meet."""
_FORMATS = "a PNG, JPEG, WebP or BMP image"
_WORD_BITS = 256
_MOST = 255
"""Largest brightness, and so the largest change of it."""


class ImageError(ValueError):
    """The bytes are no image that is read here; the message says what was expected instead."""


def encode_base64(content: bytes) -> str:
    """Write the bytes of an image as text, as it stands in a frame and in a request."""
    return base64.b64encode(content).decode()


def read_image(text: str, rule: ImageRule) -> Numbers:
    """Give the numbers of an image.

    Parameters
    ----------
    text : str
        Its file in base64.

    Returns
    -------
    float64[n]
        Values of ``rule.names``.

    Raises
    ------
    ImageError
        It is no image, is damaged or is too large.
    """
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise ImageError(f"an image of at most {MAX_BYTES >> 20} MiB")
    # File and image stay until the end: memory that is given back at once must be had anew for what comes next.
    content = _decode_base64(text)
    image = _decode(content, rule)
    pixels = _scale(image, rule)
    found = [FEATURES[name](pixels, rule) for name in rule.features]
    return found[0] if len(found) == 1 else np.concatenate(found)


def _decode_base64(text: str) -> bytes:
    try:
        return _base64()(text, validate=True)
    except ValueError as error:
        raise ImageError("an image in base64") from error


@cache
def _base64() -> Callable[..., bytes]:
    _cv2()  # looks for the whole extra, one thread at a time
    from pybase64 import b64decode

    decode: Callable[..., bytes] = b64decode  # twenty times as fast as the standard library, and stricter
    return decode


@cache
def _cv2() -> Any:
    with _LOADING:
        require("images", "data.columns", "an image")
        os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))
        import cv2

        cv2.setNumThreads(1)  # partitions, and requests, are worked on side by side
        return cv2


def _decode(content: bytes, rule: ImageRule) -> Pixels:
    """Decode a whole and not too large image."""
    cv2 = _cv2()
    height, width = _measure(content)
    if height * width > MAX_PIXELS or not height or not width:
        raise ImageError(f"an image of 1 to {MAX_PIXELS:,} pixels, not {width:,} × {height:,}")
    how = cv2.IMREAD_GRAYSCALE if rule.color == "gray" else cv2.IMREAD_COLOR_RGB
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), how)
    except cv2.error as error:
        raise ImageError("an image that can be decoded") from error
    if image is None:
        raise ImageError("an image that can be decoded")
    return np.asarray(image, np.uint8)


def _scale(image: Pixels, rule: ImageRule) -> Pixels:
    """Bring an image to the rule's size."""
    scaled = _cv2().resize(image, rule.size[::-1], interpolation=_cv2().INTER_AREA)
    return np.asarray(scaled, np.uint8).reshape(*rule.size, rule.channels)


def _measure(content: bytes) -> tuple[int, int]:
    """Read height and width from the header, after a look whether the file is whole."""
    for start, measure in _MEASURES.items():
        if content.startswith(start):
            try:
                return measure(content)
            except (struct.error, IndexError) as error:
                raise ImageError("an image that is not cut off") from error
    raise ImageError(_FORMATS)


_SIDE = struct.Struct("<H").unpack_from
_CHUNK, _CHECK = struct.Struct(">I4s").unpack_from, struct.Struct(">I").unpack_from
_PAIR = struct.Struct(">HH").unpack_from


def _measure_png(content: bytes) -> tuple[int, int]:
    """Walk over all chunks: OpenCV decodes what is there of a damaged file, and says nothing."""
    place = 8
    kinds, view = list[bytes](), memoryview(content)
    while not kinds or kinds[-1] != b"IEND":
        size, kind = _CHUNK(content, place)
        (check,) = _CHECK(content, place + 8 + size)
        if zlib.crc32(view[place + 4 : place + 8 + size]) != check:  # a copy takes longer than the sum
            raise ImageError("an image that is not damaged")
        kinds.append(kind)
        place += 12 + size
    if kinds[0] != b"IHDR":
        raise ImageError("an image that is not damaged")
    width, height = struct.unpack(">II", content[16:24])
    return height, width


def _measure_jpeg(content: bytes) -> tuple[int, int]:
    if b"\xff\xd9" not in content[-1024:]:
        raise IndexError
    place = 2
    while True:
        marker, size = _PAIR(content, place)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in {0xFFC4, 0xFFC8, 0xFFCC}:
            height, width = _PAIR(content, place + 5)
            return height, width
        if marker >> 8 != 0xFF or size < 2:
            raise ImageError("an image that is not damaged")
        place += 2 + size


def _measure_bmp(content: bytes) -> tuple[int, int]:
    total, width, height = struct.unpack("<2xI12xii", content[:26])
    if total > len(content):
        raise IndexError
    return abs(height), abs(width)


def _measure_webp(content: bytes) -> tuple[int, int]:
    """Read the first chunk, which is that of a lossy, a lossless or an extended file (RFC 9649, section 2)."""
    size, kind = struct.unpack("<4xI4x4s", content[:16])
    if size + 8 > len(content):
        raise IndexError
    if kind == b"VP8X" and content[20] & 2:
        raise ImageError("an image that does not move")
    if content[8:12] != b"WEBP" or kind not in _WEBP_SIDES:
        raise ImageError(_FORMATS)
    width, height = _WEBP_SIDES[kind](content)
    return height, width


def _both_sides(bits: int, each: int) -> tuple[int, int]:
    """Read two numbers of so many bits, which are one less than what they mean."""
    return (bits & ~(-1 << each)) + 1, (bits >> each & ~(-1 << each)) + 1


_WEBP_SIDES: Mapping[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"VP8 ": lambda content: (_SIDE(content, 26)[0] & 0x3FFF, _SIDE(content, 28)[0] & 0x3FFF),
    b"VP8L": lambda content: _both_sides(int.from_bytes(content[21:25], "little"), 14),
    b"VP8X": lambda content: _both_sides(int.from_bytes(content[24:30], "little"), 24),
}
_MEASURES: Mapping[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"\x89PNG\r\n\x1a\n": _measure_png,
    b"\xff\xd8\xff": _measure_jpeg,
    b"BM": _measure_bmp,
    b"RIFF": _measure_webp,
}


def _pixels(pixels: Pixels, _: ImageRule) -> Numbers:
    """Give each channel row by row, from 0 to 1."""
    planes: list[Pixels] = [each.ravel() for each in _cv2().split(pixels)]
    return np.asarray(np.concatenate(planes) / 255.0)


def _histogram(pixels: Pixels, rule: ImageRule) -> Numbers:
    """Give the share of the pixels in each of a channel's equal ranges of brightness."""
    counts = [_cv2().calcHist([pixels], [c], None, [rule.bins], [0, 256]).ravel() for c in range(rule.channels)]
    return np.asarray(np.concatenate(counts).astype(np.float64) / (pixels.shape[0] * pixels.shape[1]))


def _gray(pixels: Pixels) -> Pixels:
    cv2 = _cv2()
    gray = pixels[:, :, 0] if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(gray)


@cache
def _gradients() -> tuple[Numbers, NDArray[np.int64]]:
    """Give, for each change of brightness downwards and across (-255 to 255 each), its strength and its angle's range.

    There are so few that a table is quicker than their roots and arcs.
    """
    down, across = np.mgrid[-_MOST : _MOST + 1, -_MOST : _MOST + 1].astype(np.float64)
    angle = (np.arctan2(down, across) / np.pi) % 1  # in half turns
    return np.hypot(across, down).ravel(), np.minimum((angle * HOG_ANGLES).astype(np.int64), HOG_ANGLES - 1).ravel()


@cache
def _hog_cells(rule: ImageRule) -> NDArray[np.int64]:
    """Give where the angles of each pixel's cell begin."""
    rows, columns = hog_shape(rule)
    y, x = np.indices(rule.size)
    cells = np.minimum(y // HOG_CELL, rows - 1) * columns + np.minimum(x // HOG_CELL, columns - 1)
    return np.asarray(cells, np.int64).ravel() * HOG_ANGLES


def _hog(pixels: Pixels, rule: ImageRule) -> Numbers:
    """Give histograms of oriented gradients in cells of 8 × 8 pixels, each scaled to length 1.

    Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection" (2005), with blocks of one cell.
    """
    cv2, gray = _cv2(), _gray(pixels)
    across, down = (cv2.Sobel(gray, cv2.CV_16S, dx, dy, ksize=1) for dx, dy in ((1, 0), (0, 1)))
    change = (down.astype(np.int64) * (2 * _MOST + 1) + across + _MOST * (2 * _MOST + 2)).ravel()
    strengths, angles = _gradients()
    rows, columns = hog_shape(rule)
    sums = np.bincount(_hog_cells(rule) + angles[change], strengths[change], minlength=rows * columns * HOG_ANGLES)
    cells = sums.reshape(-1, HOG_ANGLES)
    return np.asarray((cells / (np.linalg.norm(cells, axis=1, keepdims=True) + 1e-6)).ravel())


def _edges(pixels: Pixels, _: ImageRule) -> Numbers:
    """Give the share of pixels on an edge (Canny's, 1986) in each field of a grid of 4 × 4."""
    cv2 = _cv2()
    corners, sizes = _edge_fields(*pixels.shape[:2])
    sums = cv2.integral(cv2.Canny(_gray(pixels), 100, 200))[corners]
    columns = sums[1:] - sums[:-1]
    return np.asarray((columns[:, 1:] - columns[:, :-1]) / sizes).ravel()


@cache
def _edge_fields(height: int, width: int) -> tuple[Any, Numbers]:
    """Give the corners of the grid's fields, the first ones a pixel longer, and the most that each can add up to."""
    sides = []
    for length in (height, width):
        size, longer = divmod(length, EDGE_GRID)
        sides.append([size + (place < longer) for place in range(EDGE_GRID)])
    corners = np.ix_(*(np.cumsum([0, *each]) for each in sides))
    return corners, _MOST * np.maximum(np.outer(sides[0], sides[1]), 1).astype(np.float64)


@cache
def _word_bits(words: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Choose the bits of a descriptor that tell its word, the same everywhere: their bytes, masks, and what they count.

    A descriptor's first bit is the highest one of its first byte.
    """
    chosen = np.random.default_rng(0).choice(_WORD_BITS, size=words.bit_length() - 1, replace=False)
    return chosen // 8, (128 >> chosen % 8).astype(np.uint8), 1 << np.arange(len(chosen))


def _words(pixels: Pixels, rule: ImageRule) -> Numbers:
    """Give the share of each visual word among the ORB key points (Rublee and others, 2011).

    A descriptor's word is a sample of its bits, so that near ones share a word (Indyk and Motwani's hashing for the
    Hamming distance, 1998). So nothing is fitted, and a new image changes no other one's words.
    """
    cv2 = _cv2()
    finder = cv2.ORB_create(nfeatures=200, edgeThreshold=8, patchSize=16, fastThreshold=10)
    _, found = finder.detectAndCompute(_gray(pixels), None)
    if found is None:
        return np.zeros(rule.words)
    places, masks, counts = _word_bits(rule.words)
    word = ((found[:, places] & masks) != 0) @ counts
    return np.bincount(word, minlength=rule.words) / len(word)


FEATURES: Mapping[str, Callable[[Pixels, ImageRule], Numbers]] = {
    "pixels": _pixels,
    "histogram": _histogram,
    "hog": _hog,
    "edges": _edges,
    "orb": _words,
}
"""Feature → pixels uint8[height, width, channels] and rule → float64[n]."""
