"""Where a split by time falls: what counts back from the newest row becomes fixed times, once for all of a run."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Split

_FIRST = datetime(1, 1, 1)  # noqa: DTZ001 - UTC without a zone, as in all frames
_CALENDAR = {"month": 1, "year": 12}
_DAY = timedelta(days=1)
_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": _DAY,
    "week": timedelta(weeks=1),
}


@dataclass(frozen=True)
class Times:
    """The oldest and the newest time of some rows."""

    oldest: datetime
    newest: datetime


def times_of(manifest: Mapping[str, Any], split: Split) -> Times | None:
    """Return the times of a clean partition's rows, by the manifest; None where it has none."""
    found = manifest["times"].get(split.column)
    return Times(*map(datetime.fromisoformat, found)) if found else None


def fix(split: Split, times: Iterable[Times | None]) -> Split:
    """Turn bounds that count back from the newest row into fixed ones.

    Parameters
    ----------
    times : iterable of Times or None
        Those of each partition.

    Raises
    ------
    DataError
        If no row has a time, or none is left to train.
    """
    test, validation = split.extent("test"), split.extent("validation")
    if split.by != "time" or not (test or validation):
        return split
    known = [each for each in times if each]
    if not known:
        raise DataError(
            f"split: found no time in {split.column!r} from which '{test or validation}' could be counted back; "
            "expected a datetime column with values (split.column)"
        )
    line = Times(min(each.oldest for each in known), max(each.newest for each in known))
    test_from = split.test_from or _back(_end_of(line.newest, test), test, line)
    validation_from = _back(test_from, validation, line) if validation else split.validation_from
    first = validation_from or test_from
    if first <= line.oldest:
        raise DataError(
            f"split: validation and test rows begin at {first}, no later than the oldest row ({line.oldest}; the "
            f"newest is of {line.newest}), so that none trains; expected shorter ones, or older rows (split.test, "
            "split.validation)"
        )
    fixed = {"test": 0.0, "validation": 0.0, "test_from": test_from, "validation_from": validation_from}
    return split.model_copy(update=fixed)


def _back(end: datetime, extent: float | str, line: Times) -> datetime:
    """Count back from an end; to the oldest of times where there were none before."""
    if not isinstance(extent, str):
        return (end - (line.newest - line.oldest) * extent).replace(microsecond=0)
    number, unit = _parse(extent)
    if months := _CALENDAR.get(unit):
        return _months_before(end, months * number)
    step = _UNITS[unit] * number
    return end - step if end - _FIRST > step else _FIRST


def _end_of(newest: datetime, extent: float | str) -> datetime:
    """Return the end of the day, hour or minute of the newest row, from which a span holds whole ones."""
    if not isinstance(extent, str):
        return newest
    step = min(_UNITS.get(_parse(extent)[1], _DAY), _DAY)
    return newest - (newest - _FIRST) % step + step


def _parse(span: str) -> tuple[int, str]:
    number, _, unit = span.partition(" ")
    return int(number), unit.removesuffix("s")


def _months_before(moment: datetime, months: int) -> datetime:
    """Go back by months; where the month has no such day, to its last one."""
    year, month = divmod(moment.year * 12 + moment.month - 1 - months, 12)
    if year < 1:
        return _FIRST
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


def describe_bounds(split: Split) -> dict[str, str]:
    """Return the fixed bounds of a split by time, by their keys in the spec; none for other splits."""
    bounds = {"validation_from": split.validation_from, "test_from": split.test_from}
    return {name: at.isoformat() for name, at in bounds.items() if at is not None}


def clip(split: Split, times: Times | None) -> str:
    """Describe what a split with fixed bounds does to a partition: a bound beyond its rows counts the same wherever."""
    bounds = {"validation": split.validation_from, "test": split.test_from}
    return ", ".join(f"{side} {_clip(bound, times)}" for side, bound in bounds.items())


def _clip(bound: datetime | None, times: Times | None) -> str:
    if bound is None or times is None or bound > times.newest:
        return "none"
    return "all" if bound <= times.oldest else f"from {bound.isoformat()}"
