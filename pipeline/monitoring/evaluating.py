"""What is known of the quality of what is live: on the rows of newer data commits, and where callers told the truth."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from pipeline.delivery.deploying import Slot
from pipeline.delivery.releases import Release
from pipeline.errors import ModelrailError
from pipeline.home import tracking_address
from pipeline.model.reference import Reference
from pipeline.monitoring.answered import judge_told
from pipeline.monitoring.counts import Bins, Counts, truth_since
from pipeline.monitoring.judging import MONTH_S, budget_of
from pipeline.monitoring.sources import PROMETHEUS, TOKEN, ask_prometheus_truth
from pipeline.monitoring.truth import Known, judge_newest
from pipeline.runs.prequential import ANSWERS, evaluate_answers, evaluate_newest, points_of
from pipeline.runs.tracking import PipedRecorder
from pipeline.serving.settings import settings_from
from pipeline.storage.artifacts import Store
from pipeline.storage.captures import CaptureFiles

_NOTES = "truth"
_MOST_CAPTURED = 1_000_000
"""Captured rows that are held against newer ones, the newest of them."""
_DAY_S, _LEAST_S = 86_400.0, 60.0


@dataclass(frozen=True)
class Live:
    """A release that is live somewhere, and the store that knows of it."""

    slot: Slot
    release: Release
    reference: Reference
    store: Store

    @property
    def budget(self) -> float:
        """What a comparison may spend of a month's false alarms: each metric, of newer rows, told and captured."""
        rules = self.slot.spec.monitoring
        return budget_of(rules, self.reference, 3 * len(rules.metrics or self.release.evidence.metrics))


def evaluate_live(live: Live, counts: Counts, now: float) -> tuple[tuple[Known, ...], tuple[str, ...]]:
    """Judge what is known of the quality; what cannot be found out is said in words, and the look goes on.

    Parameters
    ----------
    counts : Counts
        Of the servers, since they began.
    now : float
        In seconds since 1970.
    """
    newer, notes = _on_newer_rows(live)
    tolerated = live.slot.spec.monitoring.max_decline
    known = (replace(each, tolerated=tolerated) for each in (*newer, *_of_answers(live, counts, now)))
    return tuple(known), notes


def _on_newer_rows(live: Live) -> tuple[tuple[Known, ...], tuple[str, ...]]:
    state, release = live.slot.target.state, live.release
    try:
        evaluate_newest(
            release,
            live.slot.repository,
            live.store,
            lambda: PipedRecorder(tracking_address(state), state / "mlartifacts"),
        )
    except ModelrailError as error:
        return (), (f"it was not evaluated on newer rows: {error}",)
    points, named = points_of(live.store, release), live.slot.spec.monitoring.metrics
    newer = judge_newest(points, release, named, live.budget)
    try:
        captured = _of_captures(live)
    except ModelrailError as error:
        return newer, (f"its captured answers were not evaluated: {error}",)
    return (*newer, *captured), ()


def _of_captures(live: Live) -> tuple[Known, ...]:
    """Judge captured answers by newer rows, where anything is captured."""
    capture, settings = live.slot.spec.deploy.capture, settings_from()
    address = capture.to if capture else settings.capture_to
    if not address:
        return ()
    private = {**settings.private_columns, **(capture.private if capture else {})}
    hashed = {name for name, how in private.items() if how == "hash"}

    def read() -> list[Mapping[str, Any]]:
        rows = CaptureFiles(address).read(live.slot.model, str(live.release.version))
        newest = deque(rows, _MOST_CAPTURED)
        return [each | {"record": {n: v for n, v in each["record"].items() if n not in hashed}} for each in newest]

    evaluate_answers(live.release, live.slot.repository, live.store, read)
    points, named = points_of(live.store, live.release, ANSWERS), live.slot.spec.monitoring.metrics
    return judge_newest(points, live.release, named, live.budget, captured=True)


@dataclass(frozen=True)
class _Told:
    """What was told when it was judged last."""

    version: str
    at: float
    truth: Mapping[str, Bins]


def _of_answers(live: Live, counts: Counts, now: float) -> tuple[Known, ...]:
    """Judge the answers whose truth came since they were judged last, once there are enough of them."""
    slot, rules, version = live.slot, live.slot.spec.monitoring, str(live.release.version)
    name = f"{_NOTES}/{slot.model}/{slot.environment}.json"
    last = _read(live.store, name, version)
    seconds = _DAY_S if last is None else min(max(now - last.at, _LEAST_S), MONTH_S)
    if address := os.environ.get(PROMETHEUS):
        truth: Mapping[str, Bins] = ask_prometheus_truth(address, os.environ.get(TOKEN), slot.model, version, seconds)
    else:
        truth = counts.truth if last is None else truth_since(counts.truth, last.truth)
    enough = sum(truth.get("rows", ())) >= rules.min_requests
    level = live.budget * seconds / MONTH_S if enough else 0.0
    answered, rows = counts.answered, max((sum(bins) for bins in counts.features.values()), default=0.0)
    found = judge_told(truth, live.reference, level, min(1.0, answered / rows) if answered and rows else 1.0)
    if enough:
        live.store.write_note(name, msgspec.json.encode(_Told(version, now, counts.truth)))
    return tuple(each for each in found if not rules.metrics or each.metric in rules.metrics)


def _read(store: Store, name: str, version: str) -> _Told | None:
    """Read what was told at the last time; None if there was none of this release, or the note is damaged."""
    folder, _, _ = name.rpartition("/")
    try:
        last = msgspec.json.decode(store.notes(folder).get(name, b""), type=_Told)
    except msgspec.DecodeError:
        return None
    return last if last.version == version else None
