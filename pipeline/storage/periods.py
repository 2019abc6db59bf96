"""Periods of partitions: the day on which the year, month or day in a key ends."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from datetime import date, datetime

from pipeline.errors import InputError
from pipeline.storage.git.repository import File


def up_to(partitions: Mapping[str, File], as_of: str | None) -> dict[str, File]:
    """Leave out the partitions whose period ends after a date; those without a date in their key stay.

    Parameters
    ----------
    as_of : str or None
        ISO date, inclusive; None for all.
    """
    if as_of is None:
        return dict(partitions)
    try:
        limit = datetime.fromisoformat(as_of).date()
    except ValueError as error:
        raise InputError(f"as-of: found '{as_of}'; expected a date such as 2013-12-31") from error
    ends = {key: last_day(key) for key in partitions}
    return {key: file for key, file in partitions.items() if (end := ends[key]) is None or end <= limit}


def last_day(key: str) -> date | None:
    """Find the last day of the year, month or day that a partition's key names; None if it names none."""
    match = re.search(r"(?<!\d)((?:19|20|21)\d\d)(?:[-_/]?(\d{2})(?:[-_/]?(\d{2}))?)?(?!\d)", key)
    if match is None:
        return None
    year, month, day = (int(part or 0) for part in match.groups())
    try:
        return date(year, month or 12, day or calendar.monthrange(year, month or 12)[1])
    except (ValueError, calendar.IllegalMonthError):  # digits that are no date
        return None
