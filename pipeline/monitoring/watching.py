"""A look at what is live: its counts since the last look, judged and explained; what was seen is kept in the store."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from pipeline.answers import asking_once
from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.deploying import Slot
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.promotion import find_slot
from pipeline.delivery.releases import Release, releases
from pipeline.delivery.stages import stages
from pipeline.errors import InputError
from pipeline.home import store_address
from pipeline.messages import count
from pipeline.model.reference import REFERENCE, Reference, read_reference
from pipeline.model.signature import Signature
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.diagnosis import Diagnosis, diagnose
from pipeline.monitoring.evaluating import Live, evaluate_live
from pipeline.monitoring.history import KeptLook, keep_look, read_looks
from pipeline.monitoring.judging import Judgement, Verdict, judge
from pipeline.monitoring.onset import tell_onset
from pipeline.monitoring.sources import PROMETHEUS, TOKEN, ask_prometheus, ask_server
from pipeline.storage.artifacts import Store, open_store
from pipeline.storage.git.repository import Repository

_NOTES = "watch"
_SIGNS = 5
_SAID: Mapping[Verdict, str] = {
    "quiet": "quiet",
    "waiting": "too few requests to tell",
    "failures": "too many requests fail",
    "refusals": "too many requests are refused",
    "quality": "it does worse than on its test rows",
    "drift": "what it is asked has moved",
}
_LEAST_S, _FIRST_S, _MOST_S = 60.0, 3_600.0, 30 * 86_400.0
"""Of a window that Prometheus is asked for: it must hold two of its samples; a first one has no look before it."""


@dataclass(frozen=True)
class Look:
    """What one look at a live release has found."""

    model: str
    environment: str
    version: str
    judged: Judgement
    diagnosis: Diagnosis
    notes: tuple[str, ...] = ()
    since: tuple[str, ...] = ()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is wrong, as far as can be told."""
        return self.judged.verdict in ("quiet", "waiting")

    @property
    def lines(self) -> list[str]:
        """What was found, in words: the verdict, its signs, since when, what may be done, the quality."""
        judged, diagnosis = self.judged, self.diagnosis
        window = "since its server began" if judged.seconds is None else f"in {judged.seconds:,.0f} s"
        asked = f"{count(judged.requests, 'request')}, {count(judged.rows, 'row')} {window}"
        signs = [each.text for each in diagnosis.signs[:_SIGNS]]
        if len(diagnosis.signs) > _SIGNS:
            signs.append(f"and {len(diagnosis.signs) - _SIGNS} more (--json has them all)")
        return [
            f"{self.model} v{self.version} in {self.environment}: {_SAID[judged.verdict]} ({asked})",
            *(f"  {each}" for each in signs),
            *(f"  {each}" for each in self.since),
            *([f"  → {diagnosis.suggestion}"] if diagnosis.suggestion else []),
            *(f"  {each.text}" for each in judged.known if not each.worse),
            *(f"  {each.text}" for each in judged.quality),
            *(f"  {each}" for each in self.notes),
        ]

    def kept(self, at: float) -> KeptLook:
        """Return what is kept of it."""
        judged = self.judged
        return KeptLook(
            at=at,
            version=self.version,
            verdict=judged.verdict,
            cause=self.diagnosis.cause,
            requests=judged.requests,
            rows=judged.rows,
            failed=round(judged.failed.share * judged.requests) if judged.failed else 0,
            seconds=judged.seconds,
            lines=tuple(self.lines),
            indexes={each.feature: round(each.index, 4) for each in judged.features},
            quality=tuple(self.to_json()["quality"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return a document for programs."""
        judged = self.judged
        return {
            "model": self.model,
            "environment": self.environment,
            "version": self.version,
            "verdict": judged.verdict,
            "requests": judged.requests,
            "rows": judged.rows,
            "seconds": None if judged.seconds is None else round(judged.seconds, 1),
            "failed": judged.failed and asdict(judged.failed),
            "refused": judged.refused and asdict(judged.refused),
            "drifted": [asdict(each) for each in judged.features if each.drifted],
            "sudden": [asdict(each) for each in judged.sudden if each.drifted],
            "quality": [
                *(asdict(each) | {"worse": each.worse, "estimated": False} for each in judged.known),
                *(asdict(each) | {"estimated": True} for each in judged.quality),
            ],
            "diagnosis": asdict(self.diagnosis),
            "since": list(self.since),
            "notes": list(self.notes),
        }


def find_live(repository: Repository, specs: Mapping[str, Path], environment: str | None = None) -> list[Slot]:
    """List where models should be live by Git, and can be looked at.

    Parameters
    ----------
    specs : mapping
        Model → its spec.
    environment : str, optional
        Only there.
    """
    with asking_once():
        assigned = {model: {each.environment for each in stages(repository, model)} for model in specs}
        wanted = [(model, name) for model, names in assigned.items() for name in sorted(names)]
        slots = [find_slot(repository, model, name, specs) for model, name in wanted if environment in (None, name)]
    return [each for each in slots if _is_reached(each.target)]


def _is_reached(target: Target) -> bool:
    """Tell whether there is somebody to ask: elsewhere than on this machine each server counts by itself."""
    return bool(os.environ.get(PROMETHEUS)) or target.spec.environment.platform == "local"


def look(slot: Slot) -> Look:
    """Look at what is live of a model in an environment, and remember what was seen.

    Raises
    ------
    InputError
        If nothing is live, its release has no reference, or the platform has no server whose counts are those of all.
    TransientError
        If the server or Prometheus does not answer.
    """
    target, environment, repository = slot.target, slot.environment, slot.repository
    store = open_store(store_address(target.state), target.state)
    if not _is_reached(target):
        raise InputError(
            f"{target.model}: found the platform {target.spec.environment.platform}, where each server counts by "
            f"itself; expected Prometheus, which adds up what they counted ({PROMETHEUS})"
        )
    live = platform_of(target.spec).live(target)
    if live is None:
        raise InputError(f"{target.model}: found nothing live in {environment}; expected a release (modelrail run)")
    release = _release_of(target.model, live.version, repository)
    reference = reference_of(release, store, target.state)
    name = f"{_NOTES}/{target.model}/{environment}.json"
    last, now = _read_last(store, name, live.version), time.time()
    seconds = None if last is None else max(now - last.at, 1.0)  # a clock that went back makes no window without time
    if address := os.environ.get(PROMETHEUS):
        seconds = min(max(seconds or _FIRST_S, _LEAST_S), _MOST_S)
        token = os.environ.get(TOKEN)
        window = counts = ask_prometheus(address, token, reference, target.model, live.version, seconds)
    else:
        counts = ask_server(live.address, reference, target.model, live.version)
        window = counts if last is None else counts.since(last.counts)
    known, notes = evaluate_live(Live(slot, release, reference, store), counts, now)
    before = None if last is None else last.window
    judged = judge(window, reference, target.spec.monitoring, seconds, before, known)
    found = Look(target.model, environment, live.version, judged, diagnose(judged, window, reference), notes)
    earlier = read_looks(store, target.model, environment)
    found = replace(found, since=tell_onset([*earlier, found.kept(now)], release, slot.history()))
    if judged.is_told:
        store.write_note(name, msgspec.json.encode(_Last(live.version, now, counts, window)))
    if judged.is_told or _is_news(found, earlier):
        keep_look(store, target.model, environment, found.kept(now))
    return found


def _is_news(found: Look, earlier: Sequence[KeptLook]) -> bool:
    """Tell whether a look without enough requests knows of new rows on which the quality is worse."""
    if found.judged.verdict == "waiting":
        return False
    return not earlier or tuple(found.to_json()["quality"]) != tuple(earlier[-1].quality)


def _release_of(model: str, version: str, repository: Repository) -> Release:
    release = next((each for each in releases(repository, model) if str(each.version) == version), None)
    if release is None:
        raise InputError(f"{model}: found v{version} live, which is no release of this repository; expected its tag")
    return release


def reference_of(release: Release, store: Store, state: Path) -> Reference:
    """Read what a release was trained on, in bins.

    Raises
    ------
    InputError
        If it has none, or one that cannot be read.
    """
    path = bundle_of(release, store, state) / REFERENCE
    if not path.exists():
        raise InputError(
            f"{release.model}: found v{release.version} without {REFERENCE}: it was trained before releases had one; "
            "expected a newer one (modelrail run)"
        )
    return _parse(path.read_bytes(), release)


def _parse(content: bytes, release: Release) -> Reference:
    try:
        return read_reference(content, Signature.from_json(dict(release.evidence.signature)))
    except ValueError as error:
        raise InputError(f"{release.tag}: {REFERENCE}: {error}") from error


def last_window(store: Store, model: str, environment: str, version: str) -> Counts | None:
    """Read what was counted of a release in the last window that judged; None if there was none."""
    last = _read_last(store, f"{_NOTES}/{model}/{environment}.json", version)
    return last.window if last else None


@dataclass(frozen=True)
class _Last:
    """What the last look has seen."""

    version: str
    at: float
    counts: Counts
    window: Counts


def _read_last(store: Store, name: str, version: str) -> _Last | None:
    """Read what the last look has seen of this release; None if there was none, or its note is damaged."""
    folder, _, _ = name.rpartition("/")
    try:
        last = msgspec.json.decode(store.notes(folder).get(name, b""), type=_Last)
    except msgspec.DecodeError:
        return None
    return last if last.version == version else None
