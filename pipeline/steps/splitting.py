"""Which rows train, validate and test. This is decided row by row, so a row never changes sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError, InputError
from pipeline.model.columns import Side
from pipeline.spec.schema.spec import Split
from pipeline.steps.row_hashes import Hashes, draw, row_hashes, salted, salted_by

__all__ = ["assign", "row_hashes"]

Sides = npt.NDArray[np.int8]
Edge: TypeAlias = float | npt.NDArray[np.float64]

PURPOSE = "split"


def assign(frame: pd.DataFrame, hashes: Hashes, split: Split, parts: Hashes | None = None) -> Sides:
    """Assign each row of a partition to a side.

    Parameters
    ----------
    frame : DataFrame of n rows
        Canonical, with the column that ``split`` names, if any.
    hashes : uint64[n]
        As ``row_hashes`` gives them.
    split : Split
        The spec's rule, its bounds in time fixed. By ``key`` and by ``group``, the lowest draws are test rows and the
        next ones validation rows; rows without a group are one group. With ``stratify`` each stratum of the partition
        gets its shares to within one row, so a row can change sides only when its own partition changes.
    parts : uint64[n], optional
        Which partition each row is of, where there are several.

    Returns
    -------
    int8[n]
        Values of ``Side``.

    Raises
    ------
    DataError
        If the column is not in the frame, is no time, or a time is missing.
    InputError
        If ``stratify`` is combined with ``time`` or ``group``.
    """
    if split.stratify is not None and split.by != "key":
        raise InputError(f"split.stratify: found it with 'by: {split.by}'; expected 'by: key' (split.by)")
    if split.stratify is not None:
        strata = _column(frame, split.stratify, "split.stratify").to_frame()
        stratum = row_hashes(strata, [str(split.stratify)])
        return _by_stratum(hashes, stratum, stratum if parts is None else salted_by(stratum, parts), split)
    return _RULES[split.by](frame, hashes, split)


def _by_key(_frame: pd.DataFrame, hashes: Hashes, split: Split) -> Sides:
    test, validation = _shares(split)
    return _sides(draw(hashes, PURPOSE), test, test + validation)


def _by_group(frame: pd.DataFrame, _hashes: Hashes, split: Split) -> Sides:
    groups = _column(frame, split.column, "split.column")
    return _by_key(frame, row_hashes(groups.to_frame(), [str(groups.name)]), split)


def _by_time(frame: pd.DataFrame, _hashes: Hashes, split: Split) -> Sides:
    times = _column(frame, split.column, "split.column")
    if times.dtype.kind != "M":
        raise DataError(f"split: {split.column!r} is {times.dtype}; expected a datetime (split.column)")
    if missing := int(times.isna().sum()):
        raise DataError(
            f"split: {missing:,} of {len(times):,} rows have no {split.column!r}, so nothing tells their side; "
            f"expected a time in every row (clean.missing.{split.column}: drop)"
        )
    sides = np.full(len(times), Side.TRAIN, dtype=np.int8)
    for start, side in ((split.validation_from, Side.VALIDATION), (split.test_from, Side.TEST)):
        if start is not None:
            sides[times.to_numpy() >= _utc(start)] = side
    return sides


_RULES: Mapping[str, Callable[[pd.DataFrame, Hashes, Split], Sides]] = {
    "key": _by_key,
    "group": _by_group,
    "time": _by_time,
}


def _by_stratum(hashes: Hashes, stratum: Hashes, group: Hashes, split: Split) -> Sides:
    """Rank the rows of each stratum of a partition by hash; the first are test rows, the next validation rows."""
    ranked = salted(hashes, PURPOSE)
    order = np.lexsort((ranked, group))
    starts = _run_starts(group[order])
    sizes = np.diff(np.append(np.unique(starts), len(order)))
    first = np.repeat(np.unique(starts), sizes)
    # Equal rows share the rank of the first of them, and so its side.
    rank = _run_starts(ranked[order], group[order]) - first
    # Where a share is no whole number of rows, the stratum's own draw decides whether it is rounded up.
    up = draw(ranked[order][first] ^ stratum[order][first], "round")
    size = np.repeat(sizes, sizes)
    test, validation = _shares(split)
    sides = np.empty(len(order), dtype=np.int8)
    sides[order] = _sides(
        rank.astype(np.float64),
        np.floor(size * test + up),
        np.floor(size * (test + validation) + up),
    )
    return sides


def _shares(split: Split) -> tuple[float, float]:
    if isinstance(split.test, str) or isinstance(split.validation, str):
        raise InputError(f"split: found a span of time with 'by: {split.by}'; expected shares (split.test)")
    return split.test, split.validation


def _sides(position: npt.NDArray[np.float64], test: Edge, validation: Edge) -> Sides:
    """Take the rows below ``test`` for the test, those below ``validation`` for validation, the others to train."""
    return np.where(position < test, Side.TEST, np.where(position < validation, Side.VALIDATION, Side.TRAIN)).astype(
        np.int8
    )


def _run_starts(*columns: Hashes) -> npt.NDArray[np.int64]:
    """Find, for each index, where its run of equal values starts."""
    count = len(columns[0])
    changed = np.zeros(count, dtype=bool)
    changed[:1] = True
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return np.maximum.accumulate(np.where(changed, np.arange(count), 0))


def _column(frame: pd.DataFrame, name: str | None, key: str) -> pd.Series:
    if name is None or name not in frame.columns:
        raise DataError(f"split: found no column {name!r}; expected one of {list(frame.columns)[:5]} ({key})")
    return frame[name]


def _utc(when: datetime) -> np.datetime64:
    return np.datetime64(when.astimezone(UTC).replace(tzinfo=None) if when.tzinfo else when, "us")
