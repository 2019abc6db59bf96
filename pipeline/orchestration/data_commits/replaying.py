"""Which scheduled dates a changed partition concerns: pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pipeline.spec.cron import ticks
from pipeline.storage.periods import last_day


@dataclass(frozen=True)
class Replay:
    """Scheduled dates to run anew, the oldest first.

    Attributes
    ----------
    commit : str
        The data commit that all of them see.
    dates : tuple of datetime
        Those that are run.
    left_out : tuple of datetime
        Later ones, beyond the limit.
    spec_commit : str
        The commit whose spec all of them run; empty where the spec was never committed.
    """

    commit: str
    dates: tuple[datetime, ...]
    left_out: tuple[datetime, ...] = ()
    spec_commit: str = ""

    @property
    def first(self) -> datetime:
        """The oldest date."""
        return self.dates[0]

    @property
    def last(self) -> datetime:
        """The newest date that is run."""
        return self.dates[-1]


def find_dates(cron: str, changed: Iterable[str], partitions: Iterable[str], now: datetime) -> list[datetime]:
    """List the scheduled dates up to now whose as-of window holds a changed partition.

    They begin when the oldest changed partition's period had ended, and end with the first date that sees every
    partition: what comes later sees the same, and is not run again.

    Parameters
    ----------
    changed, partitions : iterable of str
        Keys of the changed ones, and of all there are now.
    """
    ends = [day for key in changed if (day := last_day(key))]
    if not ends:
        return []
    newest = max((day for key in partitions if (day := last_day(key))), default=min(ends))
    found = []
    for tick in ticks(cron, min(ends), now - timedelta(seconds=1)):
        found.append(tick)
        if tick.date() >= newest:
            break
    return found


def plan_replay(
    cron: str | None, changed: Iterable[str], partitions: Iterable[str], commit: str, now: datetime, limit: int
) -> Replay | None:
    """Limit the number of dates to run anew; None if there are none."""
    dates = find_dates(cron, changed, partitions, now) if cron else []
    return Replay(commit, tuple(dates[:limit]), tuple(dates[limit:])) if dates else None
