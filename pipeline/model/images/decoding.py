"""Images: from the bytes of a file to numbers, by the same code in training and in serving.

An image comes in as a file or as base64 text. One that is too large is refused before it is decoded. OpenCV decodes it;
every number that it becomes is a column of its own, such as ``photo[0,3,5]``.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from functools import cache
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.extras import require
from pipeline.model.images.headers import ImageError, measure_image
from pipeline.model.images.rules import EDGE_GRID, HOG_ANGLES, HOG_CELL, ImageRule, hog_shape

MAX_BYTES = 32 * 2**20
MAX_PIXELS = 40_000_000
"""Of one image; a file of a few kilobytes can claim to hold many thousand times as much."""

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float64]

_LOADING = RLock()
"""OpenCV takes itself out of the loaded modules while it is imported, which another thread must not meet."""
_WORD_BITS = 256
_MOST = 255
"""Largest brightness, and so the largest change of it."""


def encode_base64(content: bytes) -> str:
    """Write the bytes of an image as text, as it stands in a frame and in a request."""
    return base64.b64encode(content).decode()


def read_image(text: str, rule: ImageRule) -> Numbers:
    """Compute the numbers of an image.

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
    height, width = measure_image(content)
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


def _pixels(pixels: Pixels, _: ImageRule) -> Numbers:
    """Read each channel row by row, from 0 to 1."""
    planes: list[Pixels] = [each.ravel() for each in _cv2().split(pixels)]
    return np.asarray(np.concatenate(planes) / 255.0)


def _histogram(pixels: Pixels, rule: ImageRule) -> Numbers:
    """Compute the share of the pixels in each of a channel's equal ranges of brightness."""
    counts = [_cv2().calcHist([pixels], [c], None, [rule.bins], [0, 256]).ravel() for c in range(rule.channels)]
    return np.asarray(np.concatenate(counts).astype(np.float64) / (pixels.shape[0] * pixels.shape[1]))


def _gray(pixels: Pixels) -> Pixels:
    cv2 = _cv2()
    gray = pixels[:, :, 0] if pixels.shape[2] == 1 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(gray)


@cache
def _gradients() -> tuple[Numbers, NDArray[np.int64]]:
    """Tabulate the strength and the angle's range of each change of brightness downwards and across (-255 to 255).

    There are so few that a table is quicker than their roots and arcs.
    """
    down, across = np.mgrid[-_MOST : _MOST + 1, -_MOST : _MOST + 1].astype(np.float64)
    angle = (np.arctan2(down, across) / np.pi) % 1  # in half turns
    return np.hypot(across, down).ravel(), np.minimum((angle * HOG_ANGLES).astype(np.int64), HOG_ANGLES - 1).ravel()


@cache
def _hog_cells(rule: ImageRule) -> NDArray[np.int64]:
    """Compute the index at which the angles of each pixel's cell begin."""
    rows, columns = hog_shape(rule)
    y, x = np.indices(rule.size)
    cells = np.minimum(y // HOG_CELL, rows - 1) * columns + np.minimum(x // HOG_CELL, columns - 1)
    return np.asarray(cells, np.int64).ravel() * HOG_ANGLES


def _hog(pixels: Pixels, rule: ImageRule) -> Numbers:
    """Compute histograms of oriented gradients in cells of 8 × 8 pixels, each scaled to length 1.

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
    """Compute the share of pixels on an edge (Canny's, 1986) in each field of a grid of 4 × 4."""
    cv2 = _cv2()
    corners, sizes = _edge_fields(*pixels.shape[:2])
    sums = cv2.integral(cv2.Canny(_gray(pixels), 100, 200))[corners]
    columns = sums[1:] - sums[:-1]
    return np.asarray((columns[:, 1:] - columns[:, :-1]) / sizes).ravel()


@cache
def _edge_fields(height: int, width: int) -> tuple[Any, Numbers]:
    """Compute the corners of the grid's fields, of which the first are a pixel longer, and the largest sum of each."""
    sides = []
    for length in (height, width):
        size, longer = divmod(length, EDGE_GRID)
        sides.append([size + (place < longer) for place in range(EDGE_GRID)])
    corners = np.ix_(*(np.cumsum([0, *each]) for each in sides))
    return corners, _MOST * np.maximum(np.outer(sides[0], sides[1]), 1).astype(np.float64)


@cache
def _word_bits(words: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Choose the bits of a descriptor that tell its word, the same on every machine: bytes, masks, and values.

    A descriptor's first bit is the highest one of its first byte.
    """
    chosen = np.random.default_rng(0).choice(_WORD_BITS, size=words.bit_length() - 1, replace=False)
    return chosen // 8, (128 >> chosen % 8).astype(np.uint8), 1 << np.arange(len(chosen))


def _words(pixels: Pixels, rule: ImageRule) -> Numbers:
    """Compute the share of each visual word among the ORB key points (Rublee and others, 2011).

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
