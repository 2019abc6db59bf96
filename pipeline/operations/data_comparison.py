"""What differs between two data commits: partitions, rows, and what moved in each column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import reduce
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.runs.job import Job
from pipeline.steps.clean.reading import Reading, read
from pipeline.steps.statistics import Moments, measure, merge_moments
from pipeline.storage.git.repository import File

Kind = Literal["added", "changed", "removed"]
MAX_DISTINCT = 10_000
_SHOWN = 5


@dataclass(frozen=True)
class Partition:
    """A partition that differs; rows are None where there is no such file, or it cannot be read."""

    key: str
    kind: Kind
    rows_before: int | None
    rows_after: int | None
    trouble: str = ""


@dataclass
class Side:
    """A column on one side, over all partitions that differ."""

    rows: int = 0
    missing: int = 0
    moments: Moments | None = None
    texts: Counter[str] = field(default_factory=Counter)
    many: bool = False

    def add(self, column: pd.Series[Any]) -> None:
        """Add a partition's values; of texts, those that differ are counted as long as they are few."""
        empty = column.isna() | (column == "") if column.dtype.kind not in "fiub" else column.isna()
        self.rows, self.missing = self.rows + len(column), self.missing + int(empty.sum())
        if column.dtype.kind in "fiub":
            found = measure(column.to_numpy(np.float64)[:, None])
            self.moments = found if self.moments is None else merge_moments(self.moments, found)
        elif not self.many:
            self.texts.update(Counter(column[~empty].astype(str).tolist()))
            self.many = len(self.texts) > MAX_DISTINCT

    def describe(self) -> dict[str, float]:
        """Compute the numbers that describe the column."""
        facts = {"missing_share": self.missing / self.rows if self.rows else 0.0}
        if self.moments is not None and self.moments.count[0]:
            facts |= {name: float(getattr(self.moments, name)[0]) for name in ("mean", "low", "high")}
        return facts


@dataclass(frozen=True)
class Column:
    """A column that moved.

    Attributes
    ----------
    before, after : dict
        ``missing_share``, and of numbers and times ``mean``, ``low`` and ``high``.
    new, gone : tuple of str
        Texts that occur on one side only, the most frequent first; at most five.
    """

    name: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    new_count: int = 0
    gone_count: int = 0


@dataclass(frozen=True)
class Difference:
    """What differs between two data commits."""

    before: str
    after: str
    partitions: tuple[Partition, ...]
    columns: tuple[Column, ...]
    unchanged: int

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        return asdict(self)


def compare(before: Job, after: Job) -> Difference:
    """Compare what two commits hold of what a model reads; one partition is in memory at a time.

    Columns are summed up over the partitions that differ: before, and after.
    """
    sides: tuple[dict[str, Side], dict[str, Side]] = ({}, {})
    partitions = [_compare(key, kind, (before, after), sides) for key, kind in _differing(before, after)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    moved = (_move(name, sides[0].get(name, Side()), sides[1].get(name, Side())) for name in names)
    unchanged = len(after.partitions) - sum(each.kind != "removed" for each in partitions)
    columns = tuple(each for each in moved if each is not None)
    return Difference(before.data_commit, after.data_commit, tuple(partitions), columns, unchanged)


def _differing(before: Job, after: Job) -> Iterator[tuple[str, Kind]]:
    for key in sorted({*before.partitions, *after.partitions}):
        old, new = before.partitions.get(key), after.partitions.get(key)
        if old is None or new is None:
            yield key, "added" if old is None else "removed"
        elif old.id != new.id:
            yield key, "changed"


def _compare(key: str, kind: Kind, jobs: tuple[Job, Job], sides: tuple[dict[str, Side], dict[str, Side]]) -> Partition:
    rows: list[int | None] = [None, None]
    trouble = []
    for place, job in enumerate(jobs):
        file = job.partitions.get(key)
        if file is None:
            continue
        try:
            reading = _read(job, key, file)
        except DataError as error:
            trouble.append(f"{'before' if place == 0 else 'after'}: {str(error).splitlines()[0]}")
            continue
        rows[place] = len(reading.rows)
        for name in reading.rows.columns:
            sides[place].setdefault(str(name), Side()).add(_numbers_of(reading.rows[name]))
    return Partition(key, kind, rows[0], rows[1], "; ".join(trouble))


def _read(job: Job, key: str, file: File) -> Reading:
    return read(job.read(key), file.path, job.spec.data)


def _numbers_of(column: pd.Series[Any]) -> pd.Series[Any]:
    """Convert times to seconds since 1970, so that they have a mean and a range."""
    if column.dtype.kind != "M":
        return column
    seconds = column.astype("datetime64[ns]").astype("int64") / 1e9
    return seconds.where(column.notna())


def _move(name: str, before: Side, after: Side) -> Column | None:
    known = not (before.many or after.many)
    new = [value for value, _ in after.texts.most_common() if value not in before.texts] if known else []
    gone = [value for value, _ in before.texts.most_common() if value not in after.texts] if known else []
    old, now = before.describe(), after.describe()
    if not new and not gone and reduce(lambda same, each: same and _same(old, now, each), {*old, *now}, True):
        return None
    return Column(name, old, now, tuple(new[:_SHOWN]), tuple(gone[:_SHOWN]), len(new), len(gone))


def _same(before: Mapping[str, float], after: Mapping[str, float], name: str) -> bool:
    if name not in before or name not in after:
        return False
    return abs(before[name] - after[name]) <= 1e-12 * max(1.0, abs(before[name]))
