"""Cron expressions, as Airflow's scheduler reads them.

What is right is decided here, by field and without a library, since every spec that is loaded asks; when one is due is
asked of croniter, as Airflow does. Every expression that is right here is read alike by Airflow: what it takes for
something else than it says (``9-9`` is all, ``22-2`` passes midnight) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from typing import Final

PRESETS: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAY_NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTHS = {name: i for i, name in enumerate(_MONTH_NAMES, start=1)}
_WEEKDAYS = {name: i for i, name in enumerate(_WEEKDAY_NAMES)}

# Field → smallest value, largest value, names of values.
_FIELDS: Mapping[str, tuple[int, int, Mapping[str, int]]] = {
    "minute": (0, 59, {}),
    "hour": (0, 23, {}),
    "day of the month": (1, 31, {}),
    "month": (1, 12, _MONTHS),
    "day of the week": (0, 7, _WEEKDAYS),
}
_PART = re.compile(r"(?P<low>\*|[a-z0-9]+)(-(?P<high>[a-z0-9]+))?(/(?P<step>[0-9]+))?")
_LAST_DAYS: Mapping[int, int] = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def cron_problem(text: str) -> tuple[str, str] | None:
    """Say what is wrong with a cron expression of five fields.

    Returns
    -------
    tuple of str or None
        What was found and what was expected; None if the expression is right.
    """
    if text in PRESETS:
        return None
    fields = text.lower().split()
    if len(fields) != len(_FIELDS):
        expected = "five fields (minute, hour, day of the month, month, day of the week), such as '0 3 1 * *'"
        return f"{len(fields)} field{'s' if len(fields) != 1 else ''}", expected
    values: dict[str, set[int]] = {}
    for (name, (least, most, names)), field in zip(_FIELDS.items(), fields, strict=True):
        read = [_read_part(part, least, most, names) for part in field.split(",")]
        if None in read:
            return f"{field} as the {name}", f"numbers from {least} to {most}, as in 1,15 or 1-5 or */2"
        values[name] = {value for part in read for value in part or ()}
    return _never(fields, values)


def _read_part(part: str, least: int, most: int, names: Mapping[str, int]) -> set[int] | None:
    match = _PART.fullmatch(part)
    if match is None:
        return None
    low, high, step = match["low"], match["high"], int(match["step"] or 1)
    if low == "*":
        return set(range(least, most + 1, step)) if high is None and 1 <= step <= most else None
    first, last = (names.get(word, int(word) if word.isdigit() else -1) for word in (low, high or low))
    if not least <= first <= last <= most or (high and first == last) or not 1 <= step <= most:
        return None
    end = most if match["step"] and high is None else last
    return set(range(first, end + 1, step))


def _never(fields: list[str], values: Mapping[str, set[int]]) -> tuple[str, str] | None:
    """Notice days that no month has; where days of the week are named as well, either is enough."""
    last = max(_LAST_DAYS.get(month, 31) for month in values["month"])
    any_weekday = len({day % 7 for day in values["day of the week"]}) == 7
    if any_weekday and min(values["day of the month"]) > last:
        return f"day {fields[2]} of month {fields[3]}, which never comes", f"a day up to {last}"
    return None


def ticks(text: str, first: date, last: datetime) -> Iterator[datetime]:
    """Yield the moments (UTC) at which a right cron expression is due, from the start of a day up to a moment."""
    from croniter import croniter  # needed only where Airflow is; its import starts a process

    before = datetime.combine(first, time.min, UTC) - timedelta(seconds=1)
    due = croniter(PRESETS.get(text, text), before, ret_type=datetime)
    yield from takewhile(lambda at: at <= last, due)
