"""Since when something is wrong, in words: since which window, with which release, on which data it was made."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile

from pipeline.delivery.releases import Release
from pipeline.delivery.stages import Stage
from pipeline.messages import count
from pipeline.monitoring.history import KeptLook


def tell_onset(looks: Sequence[KeptLook], release: Release, stages: Sequence[Stage]) -> tuple[str, ...]:
    """Say since when the last look's verdict holds; nothing where it is quiet.

    Parameters
    ----------
    looks : sequence of KeptLook
        In order, the last one included.
    release : Release
        That was looked at last.
    stages : sequence of Stage
        Of the environment, in order.
    """
    if not looks or not looks[-1].signals:
        return ()
    row = row_of(looks)
    earlier = looks[: len(looks) - len(row)]
    return (_window(row, earlier), _release(row, earlier), *_made(release, stages))


def row_of(looks: Sequence[KeptLook]) -> tuple[KeptLook, ...]:
    """Return the looks up to the last one with its verdict, of whatever release."""
    last = looks[-1].verdict if looks else ""
    return tuple(takewhile(lambda each: each.verdict == last, reversed(looks)))[::-1]


def moment(at: float) -> str:
    """Write a time, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"


def _window(row: Sequence[KeptLook], earlier: Sequence[KeptLook]) -> str:
    first = row[0]
    asked = count(sum(each.requests for each in row), "request")
    since = "its server began" if first.seconds is None else moment(first.at - first.seconds)
    before = f"the window before was {earlier[-1].verdict}" if earlier else "nothing is known of earlier windows"
    return f"since {since}, for {count(len(row), 'window')} and {asked}; {before}"


def _release(row: Sequence[KeptLook], earlier: Sequence[KeptLook]) -> str:
    first, last = row[0], row[-1]
    if first.version != last.version:
        return f"it began before this release, with v{first.version}"
    if earlier and earlier[-1].version != first.version:
        return f"it began with this release: v{earlier[-1].version} was {earlier[-1].verdict} in the window before"
    if any(each.version == first.version and not each.signals for each in earlier):
        return "this release was quiet before, so it is not the release alone"
    return "this release was never seen quiet"


def _made(release: Release, stages: Sequence[Stage]) -> tuple[str, ...]:
    live = next((each for each in reversed(stages) if each.version == release.version), None)
    since = f"live since {live.date:%Y-%m-%d %H:%M} UTC ({live.tag}), " if live and live.date else ""
    data = release.evidence.data_time
    made = f" of {data[:10]}" if data else ""
    return (f"{release.tag}: {since}made from the data commit {release.evidence.data_commit[:12]}{made}",)
