"""What the raw columns of training rows look like: summaries that merge, of which a release's reference is made.

They are taken where the rows pass by anyway. A feature's own statistics would not do: a server is asked raw values, and
a feature may be clipped, a logarithm, or made of several columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.model.images.rules import ImageRule, owner_of
from pipeline.serving.observing.bins import hours, weekdays
from pipeline.steps.quantiles import Doubles, Quantiles, merge_quantiles, points_for, shorten, summarize

RAW_COLUMNS = "columns.json"
"""The file in which `normalize` writes them down."""
MAX_CATEGORIES = 10_000
"""Most different texts of a column that are counted; a column with more is described by the length of its texts."""
_POINTS = 512


@dataclass(frozen=True, eq=False)
class RawNumbers:
    """Numbers of some rows; `low` and `high` are the extremes, ∞ and −∞ without any value."""

    rows: int
    low: float
    high: float
    quantiles: Quantiles

    def to_json(self) -> dict[str, Any]:
        """Return a form for JSON."""
        extremes = [self.low, self.high] if self.low <= self.high else None
        return {"rows": self.rows, "extremes": extremes, "quantiles": self.quantiles.to_json()}


@dataclass(frozen=True, eq=False)
class RawCounts:
    """How often each text occurs, "" for missing; None for prose, and for more than `MAX_CATEGORIES` texts."""

    rows: int
    counts: Mapping[str, int] | None

    def to_json(self) -> dict[str, Any]:
        """Return a form for JSON."""
        return {"rows": self.rows, "counts": None if self.counts is None else dict(sorted(self.counts.items()))}


RawColumn = RawNumbers | RawCounts
RawColumns = Mapping[str, RawColumn]
"""``COLUMN``, or ``COLUMN[READING]`` → what its training rows look like."""


@dataclass(frozen=True)
class Known:
    """What has been summarized of raw columns already: quantiles of numbers, and how often each text occurs."""

    quantiles: Mapping[str, Quantiles] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def read_raw(data: Mapping[str, Mapping[str, Any]]) -> RawColumns:
    """Read what `write_raw` returned."""
    return {name: _read(each) for name, each in data.items()}


def write_raw(columns: RawColumns) -> dict[str, Any]:
    """Return a form for JSON."""
    return {name: each.to_json() for name, each in columns.items()}


def _read(data: Mapping[str, Any]) -> RawColumn:
    if "counts" in data:
        return RawCounts(data["rows"], data["counts"])
    low, high = data["extremes"] or (np.inf, -np.inf)
    return RawNumbers(data["rows"], low, high, Quantiles.from_json(data["quantiles"]))


def measure_raw(
    rows: pd.DataFrame,
    numbers: Sequence[str],
    texts: Sequence[str],
    images: Mapping[str, ImageRule],
    worded: Collection[str] = (),
    known: Known | None = None,
) -> RawColumns:
    """Measure the raw columns that a graph reads.

    Parameters
    ----------
    rows : DataFrame
        Training rows.
    numbers, texts : sequence of str
        Columns of the graph's inputs; among the numbers are times, and those that images became.
    images : mapping
        Columns of images → how they became numbers.
    worded : collection of str
        Texts that are prose: they are measured, and not counted.
    known : Known, optional
        What has been summarized of them already.
    """
    parts = dict.fromkeys(owner for name in numbers if (owner := owner_of(name, images)) in images)
    plain = [name for name in numbers if owner_of(name, images) not in images]
    points = min(_POINTS, points_for(len(plain) + len(texts)))
    known = known or Known()
    made: dict[str, RawColumn] = {}
    for name in plain:
        made |= _measure_numbers(name, rows[name], points, known.quantiles.get(name))
    for name in parts:
        if pixels := _pixels(name, images[name]):
            made[f"{name}[brightness]"] = _summarize(rows[pixels].to_numpy(dtype=np.float64).mean(axis=1), points)
    for name in texts:
        counted = RawCounts(len(rows), None) if name in worded else _count(rows[name], known.counts.get(name))
        made[name] = counted
        made[f"{name}[length]"] = _summarize_lengths(rows[name], counted.counts, points)
    return made


def _pixels(name: str, rule: ImageRule) -> list[str]:
    return list(ImageRule(("pixels",), rule.size, rule.color).names(name)) if "pixels" in rule.features else []


def _measure_numbers(name: str, column: pd.Series[Any], points: int, known: Quantiles | None) -> RawColumns:
    if column.dtype.kind != "M":
        return {name: _summarize(column.to_numpy(dtype=np.float64), points, known)}
    moments = column.to_numpy().astype("datetime64[us]")
    seconds = np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)
    return {f"{name}[hour]": _count_parts(hours(seconds)), f"{name}[weekday]": _count_parts(weekdays(seconds))}


def _summarize(values: Doubles, points: int, known: Quantiles | None = None) -> RawNumbers:
    finite = np.isfinite(values)
    present = values if finite.all() else values[finite]
    low, high = present.min(initial=np.inf), present.max(initial=-np.inf)
    found = summarize(present, points) if known is None else shorten(known, points)
    return RawNumbers(len(values), float(low), float(high), found)


def _count_parts(values: Doubles) -> RawCounts:
    """Count whole numbers, of which there are few."""
    missing = np.isnan(values)
    counts = np.bincount(values[~missing].astype(np.int64))
    named = {"": int(missing.sum())} | {str(part): int(count) for part, count in enumerate(counts)}
    return RawCounts(len(values), {name: count for name, count in named.items() if count})


def _count(values: pd.Series[Any], known: Mapping[str, int] | None) -> RawCounts:
    if known is None:
        found = values.fillna("").value_counts(sort=False)
        known = dict(zip(found.index.tolist(), found.tolist(), strict=True))
    return RawCounts(len(values), known if len(known) <= MAX_CATEGORIES else None)


def _summarize_lengths(values: pd.Series[Any], known: Mapping[str, int] | None, points: int) -> RawNumbers:
    if known is None:
        lengths, weights = values.str.len().to_numpy(dtype=np.float64, na_value=0.0).astype(np.int64), None
    else:
        lengths, weights = np.array([len(text) for text in known], dtype=np.int64), np.array([*known.values()])
    counts = np.bincount(lengths, weights)[1:]  # without those of no text
    found = np.flatnonzero(counts)
    summary = Quantiles((found + 1).astype(np.float64), counts[found].astype(np.float64))
    low, high = (float(found[0] + 1), float(found[-1] + 1)) if len(found) else (np.inf, -np.inf)
    return RawNumbers(len(values), low, high, shorten(summary, points))


def merge_raw(parts: Sequence[RawColumns]) -> RawColumns:
    """Merge what several sets of rows look like; the order of the sets does not matter."""
    return {name: _merge([part[name] for part in parts]) for name in parts[0]}


def _merge(parts: Sequence[RawColumn]) -> RawColumn:
    numbers = [each for each in parts if isinstance(each, RawNumbers)]
    if numbers:
        low, high = min(each.low for each in numbers), max(each.high for each in numbers)
        rows = sum(each.rows for each in numbers)
        return RawNumbers(rows, low, high, merge_quantiles([each.quantiles for each in numbers]))
    return _merge_counts([each for each in parts if isinstance(each, RawCounts)])


def _merge_counts(parts: Iterable[RawCounts]) -> RawCounts:
    total: dict[str, int] | None = {}
    rows = 0
    for part in parts:
        rows += part.rows
        if total is None or part.counts is None:
            total = None
            continue
        for value, count in part.counts.items():
            total[value] = total.get(value, 0) + count
        if len(total) > MAX_CATEGORIES:
            total = None
    return RawCounts(rows, total)
