"""Trying again."""

from __future__ import annotations

import pytest

from pipeline import retries


def test_a_lost_race_is_run_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", paused.append)
    assert list(retries.attempts()) == [0, 1, 2, 3, 4]
    assert list(retries.attempts(20)) == [*range(20)]
    assert paused == []


def test_a_service_is_given_time_and_not_asked_by_all_at_the_same_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    paused: list[float] = []
    monkeypatch.setattr(retries.time, "sleep", paused.append)
    assert len(list(retries.attempts(pause_s=0.2))) == 5
    assert all(longest / 2 <= each <= longest for each, longest in zip(paused, (0.2, 0.4, 0.8, 1.6), strict=True))
    list(retries.attempts(pause_s=0.2))
    assert paused[:4] != paused[4:], "no two pause for the same time"
