"""Since when it is so, in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline.delivery.releases import Release, Version
from pipeline.delivery.stages import Stage
from pipeline.monitoring.history import KeptLook
from pipeline.monitoring.onset import tell_onset
from tests.delivery.test_releases import evidence

AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()
RELEASE = Release("late", Version(1, 1, 0), evidence(data_commit="c" * 40, data_time="2026-11-29T08:00:00+00:00"))
LIVE = Stage("late", "prod", 2, Version(1, 1, 0), "deploy", "", "", date=datetime(2026, 11, 29, 9, 0, tzinfo=UTC))


def looks(*found: str) -> list[KeptLook]:
    """Make looks of words such as ``1.0.0 drift``, an hour apart, the last one at noon; the first since its start."""
    pairs = [each.split() for each in found]
    return [
        KeptLook(AT - 3600 * (len(pairs) - 1 - place), version, verdict, requests=400, seconds=3600 if place else None)
        for place, (version, verdict) in enumerate(pairs)
    ]


@pytest.mark.parametrize(
    ("found", "window", "release"),
    [
        (["1.1.0 quiet", "1.1.0 drift"],
         "since 2026-11-30 11:00 UTC, for 1 window and 400 requests; the window before was quiet",
         "this release was quiet before, so it is not the release alone"),
        (["1.1.0 quiet", "1.1.0 drift", "1.1.0 drift"],
         "since 2026-11-30 10:00 UTC, for 2 windows and 800 requests; the window before was quiet",
         "this release was quiet before, so it is not the release alone"),
        (["1.0.0 quiet", "1.1.0 drift"],
         "since 2026-11-30 11:00 UTC, for 1 window and 400 requests; the window before was quiet",
         "it began with this release: v1.0.0 was quiet in the window before"),
        (["1.0.0 quiet", "1.0.0 drift", "1.1.0 drift"],
         "since 2026-11-30 10:00 UTC, for 2 windows and 800 requests; the window before was quiet",
         "it began before this release, with v1.0.0"),
        (["1.1.0 drift"],
         "since its server began, for 1 window and 400 requests; nothing is known of earlier windows",
         "this release was never seen quiet"),
        (["1.1.0 failures", "1.1.0 drift"],
         "since 2026-11-30 11:00 UTC, for 1 window and 400 requests; the window before was failures",
         "this release was never seen quiet"),
    ],
)  # fmt: skip
def test_the_onset_is_told_by_window_and_release(found: list[str], window: str, release: str) -> None:
    *told, made = tell_onset(looks(*found), RELEASE, [LIVE])
    assert told == [window, release]
    since = "live since 2026-11-29 09:00 UTC (late#prod#2)"
    assert made == f"late@v1.1.0: {since}, made from the data commit cccccccccccc of 2026-11-29"


@pytest.mark.parametrize("found", [[], ["1.1.0 quiet"], ["1.1.0 drift", "1.1.0 quiet"]])
def test_nothing_is_told_where_nothing_is_wrong(found: list[str]) -> None:
    assert tell_onset(looks(*found), RELEASE, [LIVE]) == ()
