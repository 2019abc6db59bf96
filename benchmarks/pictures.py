"""Features of images beside bare OpenCV: ``python -m benchmarks.pictures [--images 300] [--rounds 5]``.

CPU time of an image, by one thread, for the same features of the same files: decoded, brought to a size, taken apart.
The bare side decodes the bytes and calls OpenCV (``resize``, ``calcHist``, ``Canny``, ``ORB``; for oriented gradients,
of which OpenCV 5 has none any more, ``Sobel``, ``cartToPolar`` and NumPy's ``bincount`` as in its tutorial "OCR of
hand-written data using SVM"). It has no base64, no checksums and no limits, which Modelrail's time includes. It needs
``make extra-images``.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from benchmarks.measuring import say_machine
from pipeline.model.images.decoding import encode_base64, read_image
from pipeline.model.images.rules import ImageRule

SIZE = (128, 128)


def make_scenes(count: int, side: int) -> list[Any]:
    """Draw shapes on a gradient with noise: smooth parts, edges and corners, as in photographs."""
    random, scenes = np.random.default_rng(0), []
    for _ in range(count):
        image = np.add.outer(np.linspace(0, 90, side), np.linspace(0, 60, side))[:, :, None] * random.uniform(0.5, 1, 3)
        image = np.ascontiguousarray((image + random.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8))
        for _ in range(12):
            place, size = random.integers(0, side, 2).tolist(), int(random.integers(side // 20, side // 5))
            color = random.integers(0, 256, 3).tolist()
            cv2.rectangle(image, place, [each + size for each in place], color, -1)
            cv2.circle(image, random.integers(0, side, 2).tolist(), size, color[::-1], -1)
        scenes.append(image)
    return scenes


def bare_pixels(image: Any) -> Any:
    return image.transpose(2, 0, 1).ravel() / 255.0


def bare_histogram(image: Any) -> Any:
    found = [cv2.calcHist([image], [channel], None, [16], [0, 256]).ravel() for channel in range(image.shape[2])]
    return np.concatenate(found) / (image.shape[0] * image.shape[1])


def bare_hog(image: Any) -> Any:
    gray = image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    strength, angle = cv2.cartToPolar(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    places = (9 * angle / (2 * np.pi)).astype(np.int32) % 9
    fields = [(slice(y, y + 8), slice(x, x + 8)) for y in range(0, SIZE[0], 8) for x in range(0, SIZE[1], 8)]
    return np.hstack([np.bincount(places[each].ravel(), strength[each].ravel(), 9) for each in fields])


def bare_edges(image: Any) -> Any:
    found = cv2.Canny(image, 100, 200)
    return cv2.resize(found, (4, 4), interpolation=cv2.INTER_AREA).ravel() / 255.0


def bare_orb(image: Any) -> Any:
    _, found = cv2.ORB.create(nfeatures=200, edgeThreshold=8, patchSize=16, fastThreshold=10).detectAndCompute(
        image, None
    )
    return np.zeros(0) if found is None else found


BARE: Mapping[str, Callable[[Any], Any]] = {
    "pixels": bare_pixels,
    "histogram": bare_histogram,
    "hog": bare_hog,
    "edges": bare_edges,
    "orb": bare_orb,
}


def bare(content: bytes, color: str, feature: Callable[[Any], Any]) -> Any:
    image = cv2.imdecode(
        np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE if color == "gray" else cv2.IMREAD_COLOR
    )
    scaled = cv2.resize(image, SIZE[::-1], interpolation=cv2.INTER_AREA)
    return feature(scaled if scaled.ndim == 3 else scaled[:, :, None])


def cpu_s(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(name: str, files: Sequence[bytes], rule: ImageRule, rounds: int) -> None:
    texts, feature = [encode_base64(each) for each in files], BARE[rule.features[0]]
    works: Sequence[Callable[[], Any]] = [
        lambda: [read_image(each, rule) for each in texts],
        lambda: [bare(each, rule.color, feature) for each in files],
    ]
    for work in works:
        work()
    times = [[cpu_s(work) for work in works] for _ in range(rounds)]
    ours, theirs = (1e6 * statistics.median(each) / len(files) for each in zip(*times, strict=True))
    print(f"{name:28} {ours:9.1f} µs  {theirs:9.1f} µs  {theirs / ours:6.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    say_machine(["opencv-python-headless"])
    scenes = make_scenes(chosen.images, chosen.side)
    print(f"\n{'':28} {'Modelrail':>12}  {'bare':>12}  times as fast")
    for ending in (".jpg", ".png"):
        files = [cv2.imencode(ending, each)[1].tobytes() for each in scenes]
        for color in ("gray", "rgb"):
            for feature in BARE:
                compare(f"{ending[1:]}, {color}, {feature}", files, ImageRule((feature,), SIZE, color), chosen.rounds)


if __name__ == "__main__":
    main()
