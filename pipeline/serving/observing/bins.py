"""Which bin of a release's reference each value lies in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.model.reference import MISSING, OTHER, RARE, CategoryBins, NumberBins, PartBins

Places = NDArray[np.int64]

_HOUR_S, _DAY_S, _THURSDAY = 3_600, 86_400, 3


def edges_of(bins: NumberBins) -> NDArray[np.float64]:
    """List where each bin ends and the next begins; what lies above all begins right after the largest value."""
    return np.array([*bins.starts, np.nextafter(bins.high, np.inf)])


def bin_numbers(bins: NumberBins, values: NDArray[np.floating]) -> Places:
    """Find the bin of each number; NaN is missing."""
    return place_numbers(edges_of(bins), values)


def place_numbers(edges: NDArray[np.float64], values: NDArray[np.floating]) -> Places:
    """Find the bin of each number by `edges_of` its bins."""
    places = np.searchsorted(edges, values, side="right") + 1
    return np.where(np.isnan(values), MISSING, places)


def bin_parts(bins: PartBins, values: NDArray[np.floating]) -> Places:
    """Find the bin of each whole number; NaN is missing."""
    missing = np.isnan(values)
    return np.where(missing, MISSING, np.where(missing, 0, values).astype(np.int64) % bins.size + 1)


def table_of(bins: CategoryBins) -> dict[str, int]:
    """Map each category that is known to its bin, and "" to what is missing."""
    own = {value: place for place, value in enumerate(bins.values, RARE + 1)}
    return {**dict.fromkeys(bins.rare, RARE), **own, "": MISSING}


def bin_categories(table: dict[str, int], texts: Sequence[str]) -> Places:
    """Find the bin of each text, by `table_of` its bins."""
    find = table.get
    return np.fromiter([find(text, OTHER) for text in texts], np.int64, len(texts))


def hours(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the hour of the day, in UTC, of seconds since 1970."""
    return _remainder(np.floor(seconds / _HOUR_S), 24)


def weekdays(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the day of the week, from 0 for Monday, in UTC, of seconds since 1970."""
    return _remainder(np.floor(seconds / _DAY_S) + _THURSDAY, 7)


def _remainder(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Compute the remainder of whole numbers; ten times as fast as ``%`` of floats, and as exact."""
    remainder: NDArray[np.float64] = values - size * np.floor(values / size)
    return remainder


def claims(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what is claimed of each row: the second of two classes' probability, or that of the likeliest class."""
    claimed = probabilities[:, 1] if probabilities.shape[1] == 2 else probabilities.max(axis=1)
    return np.asarray(claimed, dtype=np.float64)


def lengths(texts: Sequence[str]) -> NDArray[np.float64]:
    """Count the characters of each text; NaN for none."""
    return np.array([len(text) or np.nan for text in texts], dtype=np.float64)
