"""Statistics of rows that merge: those of a whole follow from those of its parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.messages import quote
from pipeline.model.words import GramCounts, count_grams, merge_grams
from pipeline.steps.features import Needs
from pipeline.steps.quantiles import Doubles, Quantiles, decode, encode, merge_quantiles, points_for, summarize
from pipeline.steps.raw_columns import RawColumns, merge_raw, read_raw, write_raw

MAX_DISTINCT = 100_000
"""Largest number of different values of one column that are counted."""

Counts = Mapping[str, int] | Mapping[float, int]


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of some columns; each array has one entry a column.

    Attributes
    ----------
    count, nulls : float64[M]
        Present and missing values.
    mean : float64[M]
        0 where there is no value.
    m2 : float64[M]
        Sum of the squared differences from the mean.
    low, high : float64[M]
        Smallest and largest value; ∞ and −∞ where there is none.
    """

    count: Doubles
    nulls: Doubles
    mean: Doubles
    m2: Doubles
    low: Doubles
    high: Doubles


def measure(values: Doubles) -> Moments:
    """Find the moments of the columns of a matrix float64[N, M] with NaN for missing."""
    missing = np.isnan(values)
    nulls = missing.sum(axis=0, dtype=np.float64)
    count = len(values) - nulls
    some = nulls.any()
    filled = np.where(missing, 0.0, values) if some else values
    mean = filled.sum(axis=0) / np.maximum(count, 1)
    apart = filled - mean
    if some:
        apart[missing] = 0.0
    low = np.fmin.reduce(values, axis=0, initial=np.inf)
    high = np.fmax.reduce(values, axis=0, initial=-np.inf)
    return Moments(count, nulls, mean, np.einsum("ij,ij->j", apart, apart), low, high)


def merge_moments(left: Moments, right: Moments) -> Moments:
    """Merge by the update of Chan, Golub and LeVeque, "Updating formulae … for computing sample variances" (1979)."""
    count = left.count + right.count
    share = right.count / np.maximum(count, 1)
    delta = right.mean - left.mean
    return Moments(
        count,
        left.nulls + right.nulls,
        left.mean + delta * share,
        left.m2 + right.m2 + delta * delta * left.count * share,
        np.minimum(left.low, right.low),
        np.maximum(left.high, right.high),
    )


@dataclass(frozen=True, eq=False)
class Statistics:
    """What normalization is fitted on.

    Attributes
    ----------
    rows : int
        Number of rows measured.
    columns : tuple of str
        What the entries of ``moments`` belong to: the features, then the sources (``raw NAME``).
    moments : Moments
        Those of all numbers.
    counts : mapping of str to mapping
        For categories and modes: value → how often. Texts count missing ones as "", numbers leave them out.
    quantiles : mapping of str to Quantiles
        Those that the spec needs.
    words : mapping of str to mapping
        Column → its words: in how many rows, and how often.
    raw : mapping of str to RawColumn
        What the raw columns look like, for the release's reference; nothing is fitted to it.
    """

    rows: int
    columns: tuple[str, ...]
    moments: Moments
    counts: Mapping[str, Counts]
    quantiles: Mapping[str, Quantiles]
    words: Mapping[str, GramCounts] = field(default_factory=dict)
    raw: RawColumns = field(default_factory=dict)

    def place(self, column: str) -> int:
        """Find a column's entry in ``moments``."""
        return self._places[column]

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.columns)}

    def to_json(self) -> dict[str, Any]:
        """Write a form for JSON; arrays are base64."""
        return {
            "rows": self.rows,
            "columns": list(self.columns),
            "moments": {name: encode(getattr(self.moments, name)) for name in Moments.__dataclass_fields__},
            "counts": {name: [list(counts), list(counts.values())] for name, counts in self.counts.items()},
            "quantiles": {name: quantiles.to_json() for name, quantiles in self.quantiles.items()},
            "words": {name: _columns(counts) for name, counts in self.words.items()},
            "raw": write_raw(self.raw),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Statistics:
        """Read what `to_json` gave."""
        return cls(
            data["rows"],
            tuple(data["columns"]),
            Moments(**{name: decode(text) for name, text in data["moments"].items()}),
            {name: dict(zip(*pair, strict=True)) for name, pair in data["counts"].items()},
            {name: Quantiles.from_json(each) for name, each in data["quantiles"].items()},
            {name: _grams(*columns) for name, columns in data["words"].items()},
            read_raw(data["raw"]),
        )


def _columns(counts: GramCounts) -> list[list[Any]]:
    return [list(counts), [rows for rows, _ in counts.values()], [times for _, times in counts.values()]]


def _grams(grams: Sequence[str], rows: Sequence[int], times: Sequence[int]) -> GramCounts:
    return dict(zip(grams, zip(rows, times, strict=True), strict=True))


def measure_rows(values: Doubles, labels: pd.DataFrame, names: tuple[str, ...], needs: Needs) -> Statistics:
    """Measure training rows.

    Parameters
    ----------
    values : float64[N, M]
        The numbers, whose columns are ``names``.
    labels : DataFrame
        The texts, and the words.

    Raises
    ------
    DataError
        A counted column has too many different values.
    """
    places = {name: i for i, name in enumerate(names)}
    points = points_for(len(needs.ranked))
    counts: dict[str, Counts] = {}
    for name in needs.counted:
        counts[name] = _count_texts(labels[name]) if name in labels else _count_numbers(values[:, places[name]])
        check_distinct(name, len(counts[name]))
    ranked = {name: summarize(_present(values[:, places[name]]), points) for name in needs.ranked}
    words = {name: count_grams(name, labels[name], ngrams) for name, ngrams in needs.worded.items()}
    return Statistics(len(values), names, measure(values), counts, ranked, words)


def _present(values: Doubles) -> Doubles:
    return values[~np.isnan(values)]


def _count_numbers(values: Doubles) -> dict[float, int]:
    distinct, counts = np.unique(_present(values), return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))


def _count_texts(values: pd.Series[Any]) -> dict[str, int]:
    counts = values.fillna("").value_counts(sort=False)
    return dict(sorted(zip(counts.index.tolist(), counts.tolist(), strict=True)))


def merge(parts: Sequence[Statistics]) -> Statistics:
    """Merge statistics of several sets of rows.

    Raises
    ------
    DataError
        There is nothing to merge, the columns differ, or a counted column has too many different values.
    """
    if not parts:
        raise DataError("normalize: no partition has statistics; expected at least one (data.files)")
    if any(part.columns != parts[0].columns for part in parts):
        raise DataError("normalize: the partitions were transformed in different ways; expected one spec for all")
    moments = parts[0].moments
    for part in parts[1:]:
        moments = merge_moments(moments, part.moments)
    first = parts[0]
    return Statistics(
        sum(part.rows for part in parts),
        first.columns,
        moments,
        {name: _merge_counts(name, [part.counts[name] for part in parts]) for name in first.counts},
        {name: merge_quantiles([part.quantiles[name] for part in parts]) for name in first.quantiles},
        {name: merge_grams(name, [part.words[name] for part in parts]) for name in first.words},
        merge_raw([part.raw for part in parts]),
    )


def _merge_counts(name: str, parts: Sequence[Counts]) -> Counts:
    total: dict[Any, int] = {}
    for part in parts:
        for value, count in part.items():
            total[value] = total.get(value, 0) + count
    check_distinct(name, len(total))
    return total


def check_distinct(name: str, distinct: int) -> None:
    """Refuse columns with too many different values to count.

    Raises
    ------
    DataError
        There are more than `MAX_DISTINCT`.
    """
    if distinct > MAX_DISTINCT:
        raise DataError(
            f"{quote(name)}: {distinct:,} different values to count; expected at most {MAX_DISTINCT:,}: leave the "
            f"column out (features.drop), or fill it otherwise (clean.missing.{name})"
        )
