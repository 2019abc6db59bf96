"""How an image becomes columns of numbers: the rule, and their names, such as ``photo[0,3,5]``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HOG_CELL, HOG_ANGLES, EDGE_GRID = 8, 9, 4


@dataclass(frozen=True)
class ImageRule:
    """How an image becomes numbers.

    Attributes
    ----------
    features : tuple of str
        Keys of `NAMES`, whose columns stand in this order.
    size : tuple of int
        Height and width to which the image is brought first.
    color : str
        ``gray`` or ``rgb``.
    bins : int
        Of the histogram of each channel.
    words : int
        Of the bag of words, a power of two.
    """

    features: tuple[str, ...] = ("pixels",)
    size: tuple[int, int] = (32, 32)
    color: str = "gray"
    bins: int = 16
    words: int = 64

    @property
    def channels(self) -> int:
        """How many colours a pixel has."""
        return 1 if self.color == "gray" else 3

    def names(self, column: str) -> tuple[str, ...]:
        """Name the columns that an image of a column becomes."""
        return tuple(f"{column}[{each}]" for name in self.features for each in NAMES[name](self))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ImageRule:
        """Read what a spec or a signature says."""
        lists = {name: tuple(data[name]) for name in ("features", "size")}
        return cls(**{**data, **lists})


def owner_of(column: str, images: Collection[str]) -> str:
    """Name the image column that a column was made of, else the column itself."""
    name, bracket, _ = column.rpartition("[")
    return name if bracket and name in images else column


def _pixels(rule: ImageRule) -> Iterator[str]:
    height, width = rule.size
    return (f"{c},{y},{x}" for c in range(rule.channels) for y in range(height) for x in range(width))


def _histogram(rule: ImageRule) -> Iterator[str]:
    return (f"histogram {c},{place}" for c in range(rule.channels) for place in range(rule.bins))


def hog_shape(rule: ImageRule) -> tuple[int, int]:
    """Compute the number of rows and columns of cells."""
    return max(rule.size[0] // HOG_CELL, 1), max(rule.size[1] // HOG_CELL, 1)


def _hog(rule: ImageRule) -> Iterator[str]:
    rows, columns = hog_shape(rule)
    return (f"hog {y},{x},{a}" for y in range(rows) for x in range(columns) for a in range(HOG_ANGLES))


def _edges(_: ImageRule) -> Iterator[str]:
    return (f"edges {y},{x}" for y in range(EDGE_GRID) for x in range(EDGE_GRID))


def _words(rule: ImageRule) -> Iterator[str]:
    return (f"orb {word}" for word in range(rule.words))


NAMES: Mapping[str, Callable[[ImageRule], Iterator[str]]] = {
    "pixels": _pixels,
    "histogram": _histogram,
    "hog": _hog,
    "edges": _edges,
    "orb": _words,
}
"""Feature → the names of its numbers, without the column's."""
