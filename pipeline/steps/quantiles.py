"""Mergeable, deterministic quantiles: exact while few values differ, else within a stated error of rank.

A summary is a sorted list of values with weights. While it has at most as many points as it may, nothing is lost. A
longer one is cut to buckets of equal weight, each represented by the value at its middle (the deterministic summaries
of Munro and Paterson, "Selection and sorting with limited storage", 1980, and Manku, Rajagopalan and Lindsay, 1998),
which moves a rank by at most half a bucket. Randomized sketches such as KLL are smaller, but would make two runs over
the same rows differ, and with them every artifact after them.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

MAX_POINTS, MIN_POINTS, ALL_POINTS = 4_096, 128, 1_000_000


def points_for(columns: int) -> int:
    """Choose the points of a summary, so that all summaries of a wide table stay small together."""
    return min(MAX_POINTS, max(MIN_POINTS, ALL_POINTS // max(columns, 1)))


@dataclass(frozen=True, eq=False)
class Quantiles:
    """A summary of values.

    Attributes
    ----------
    values : float64[K]
        Sorted, each once.
    weights : float64[K]
        How many values each stands for.
    points : int
        The largest K that is kept.
    error : float
        Largest error of a rank, in values; 0 while the summary is exact.
    """

    values: Doubles
    weights: Doubles
    points: int = MAX_POINTS
    error: float = 0.0

    @property
    def count(self) -> float:
        """How many values were summarized."""
        return float(self.weights.sum())

    def quantile(self, share: float) -> float:
        """Compute a quantile by linear interpolation, as ``numpy.quantile`` does; NaN without values."""
        if not len(self.values):
            return float("nan")
        last = max(round(self.count), 1) - 1
        place = share * last
        below = np.floor(place)
        low, high = self._at(below), self._at(min(below + 1, last))
        part = place - below
        return float(high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part)

    def _at(self, rank: float) -> float:
        position = np.searchsorted(self._ends(), rank + 0.5)
        return float(self.values[min(int(position), len(self.values) - 1)])

    def _ends(self) -> Doubles:
        return np.cumsum(self.weights)

    def below(self, edges: Sequence[float]) -> Doubles:
        """Count the values below each edge."""
        ends = np.concatenate([[0.0], self._ends()])
        return ends[np.searchsorted(self.values, np.asarray(edges, dtype=np.float64), side="left")]

    def with_value(self, value: float, weight: float) -> Quantiles:
        """Add one value several times."""
        if weight == 0 or np.isnan(value):
            return self
        return merge_quantiles([self, Quantiles(np.array([value]), np.array([float(weight)]), self.points)])

    def to_json(self) -> dict[str, Any]:
        """Write a form for JSON."""
        return {
            "values": encode(self.values),
            "weights": encode(self.weights),
            "points": self.points,
            "error": self.error,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Quantiles:
        """Read what `to_json` gave."""
        return cls(decode(data["values"]), decode(data["weights"]), data["points"], data["error"])


def encode(array: Doubles) -> str:
    """Write float64 as base64 of its little-endian bytes."""
    return base64.b64encode(np.ascontiguousarray(array, dtype="<f8").tobytes()).decode()


def decode(text: str) -> Doubles:
    """Read what `encode` gave."""
    return np.frombuffer(base64.b64decode(text), dtype="<f8").astype(np.float64)


def summarize(values: Doubles, points: int = MAX_POINTS) -> Quantiles:
    """Summarize values, none of them NaN."""
    distinct, counts = np.unique(values, return_counts=True)
    return _shorten(Quantiles(distinct, counts.astype(np.float64), points))


def shorten(summary: Quantiles, points: int) -> Quantiles:
    """Keep at most so many points of a summary."""
    return _shorten(Quantiles(summary.values, summary.weights, points, summary.error))


def merge_quantiles(parts: Sequence[Quantiles]) -> Quantiles:
    """Merge several summaries into one."""
    if len(parts) == 1:
        return parts[0]
    values, inverse = np.unique(np.concatenate([part.values for part in parts]), return_inverse=True)
    added = np.bincount(inverse, np.concatenate([part.weights for part in parts]), minlength=len(values))
    weights = added.astype(np.float64)
    points = min(part.points for part in parts)
    return _shorten(Quantiles(values, weights, points, sum(part.error for part in parts)))


def _shorten(summary: Quantiles) -> Quantiles:
    if len(summary.values) <= summary.points:
        return summary
    bucket = summary.count / summary.points
    middles = (np.arange(summary.points) + 0.5) * bucket
    places = np.minimum(np.searchsorted(np.cumsum(summary.weights), middles), len(summary.values) - 1)
    kept, counts = np.unique(places, return_counts=True)
    error = summary.error + bucket / 2
    return Quantiles(summary.values[kept], counts.astype(np.float64) * bucket, summary.points, error)
