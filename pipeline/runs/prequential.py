"""How good the live release is on rows that came after it: for every new commit of the data, before anything trains.

That is prequential evaluation (Dawid, 1984): each row is predicted first and learned from later, so no row flatters.
What was found is kept in the store as a note, so that it is computed once for a release and what its data have become;
and told to MLflow, as one run a release with a point a data commit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.releases import Release
from pipeline.model.signature import Signature
from pipeline.runs.at_commit import job_behind, job_with_newer_data
from pipeline.runs.computing import fill
from pipeline.runs.inputs import Inputs
from pipeline.runs.job import BUILT_IN, WORK_TREE, Job
from pipeline.runs.plan.code import digests_of
from pipeline.runs.plan.planning import PARTITIONED, data_inputs
from pipeline.runs.plan.recipes import digest_of, methods_of
from pipeline.runs.session import Session
from pipeline.runs.tracking import Recorder, UnseenEvaluated
from pipeline.steps.evaluate.results import Estimate, Evaluation
from pipeline.storage.artifacts import Store
from pipeline.storage.git.repository import Repository

_WORK = "runs.work.unseen_rows"
ANSWERS = "captured"
"""Notes on what was really answered."""
Row = Mapping[str, Any]


class Point(msgspec.Struct, frozen=True):
    """A release on the rows that came since the data commit that it was made from.

    Attributes
    ----------
    data_commit : str
        The newer one.
    at : float
        When that was made, in seconds since 1970.
    rows : int
        None of which it has seen; without any there are no metrics.
    """

    release: str
    data_commit: str
    at: float
    rows: int
    metrics: dict[str, Estimate]

    @property
    def text(self) -> str:
        """The same in words."""
        found = ", ".join(_say(name, each) for name, each in self.metrics.items() if each.value is not None)
        return f"{self.release} on {self.rows:,} rows that it has never seen (data {self.data_commit[:10]}): {found}"


def _say(name: str, found: Estimate) -> str:
    interval = "" if found.low is None else f" [{found.low:.4f}, {found.high:.4f}]"
    return f"{name} {found.value:.4f}{interval}"


def evaluate_newer(session: Session) -> Point | None:
    """Judge what is live in a run's environment on the rows that the run's data commit has added.

    Returns
    -------
    Point or None
        None where nothing is live, the run is no newer, looks back, or reads what is not committed.

    Raises
    ------
    ModelrailError
        If the release, its spec or its data are not here any more, or cannot be read.
    """
    job, current = session.job, session.assignments.standing().current
    live = next((each for each in session.assignments.releases() if each.version == current), None)
    if live is None or job.kept_back or live.evidence.data_commit == job.data_commit:
        return None
    point, _ = _evaluate(live, job.repository, session.artifacts.store, job.data_commit)
    if point and point.rows and session.recorder:
        session.recorder.tell(_event(live, point))
    return point


def evaluate_newest(
    live: Release, repository: Repository, store: Store, open_recorder: Callable[[], Recorder]
) -> Point | None:
    """Judge a release on the rows of the newest commit of its data, without a run; None where there is none newer.

    Parameters
    ----------
    open_recorder : callable
        Opened if there is anything new to tell.

    Raises
    ------
    ModelrailError
        As for `evaluate_newer`; also if MLflow cannot be told.
    """
    point, is_new = _evaluate(live, repository, store, None)
    if point and point.rows and is_new:
        recorder = open_recorder()
        recorder.tell(_event(live, point))
        recorder.finish()
    return point


def evaluate_answers(live: Release, repository: Repository, store: Store, captured: Callable[[], list[Row]]) -> None:
    """Judge what a release really answered by the rows of the newest data commit, once for each of these.

    Parameters
    ----------
    captured : callable
        Reads the captured rows, with what is hashed left out.

    Raises
    ------
    ModelrailError
        As for `evaluate_newer`; also if captures cannot be read.
    """
    if live.evidence.data_commit in (BUILT_IN, WORK_TREE):
        return
    then, now = job_behind(live, repository), job_with_newer_data(live, repository)
    name = f"{_folder(live, ANSWERS)}/{_key(live, then, now)}.json"
    if not _is_newer(then, now) or _read(store.notes(_folder(live, ANSWERS)).get(name)):
        return
    from pipeline.runs.work.unseen_rows import evaluate_captured  # brings pandas

    signature = Signature.from_json(dict(live.evidence.signature))
    bundle = bundle_of(live, store, now.state)
    found = evaluate_captured(*_read_data(then, now), signature, bundle, captured())
    store.write_note(name, msgspec.json.encode(_point(live, now, found)))


def points_of(store: Store, live: Release, kind: str = "prequential") -> list[Point]:
    """List what was found of a release, by the time of the data commits; what is damaged is none."""
    found = (_read(content) for content in store.notes(_folder(live, kind)).values())
    return sorted((each for each in found if each is not None), key=lambda each: each.at)


def _evaluate(
    live: Release, repository: Repository, store: Store, data_commit: str | None
) -> tuple[Point | None, bool]:
    """Find what is known of a release and newer data, or compute it; say whether it was computed."""
    if live.evidence.data_commit in (BUILT_IN, WORK_TREE):
        return None, False
    then, now = job_behind(live, repository), job_with_newer_data(live, repository, data_commit)
    if not _is_newer(then, now):
        return None, False
    name = f"{_folder(live)}/{_key(live, then, now)}.json"
    if known := _read(store.notes(_folder(live)).get(name)):
        return known, False
    point = _compute(live, then, now, store)
    store.write_note(name, msgspec.json.encode(point))
    return point, True


def _is_newer(then: Job, now: Job) -> bool:
    """Tell whether the data went on from where they were: a history that was written anew is another one."""
    newer = now.data_repository is not None and now.data_repository.is_ancestor(then.data_commit, now.data_commit)
    return newer and any(then.partitions.get(name) != file for name, file in now.partitions.items())


def _key(live: Release, then: Job, now: Job) -> str:
    methods, code = methods_of(now.spec), digests_of((_WORK,))
    data = [{first: data_inputs(job, keys) for first, keys in job.packs.items()} for job in (then, now)]
    how = [*(methods[step].digest for step in (*PARTITIONED, "evaluate")), sorted(set(code.values()))]
    return digest_of([live.evidence.model_digest, how, data])[:32]


def _compute(live: Release, then: Job, now: Job, store: Store) -> Point:
    from pipeline.runs.work.unseen_rows import evaluate_unseen  # brings pandas

    signature = Signature.from_json(dict(live.evidence.signature))
    found = evaluate_unseen(*_read_data(then, now), signature, bundle_of(live, store, now.state))
    return _point(live, now, found)


def _read_data(then: Job, now: Job) -> tuple[Inputs, Inputs]:
    """Clean and transform both, as far as the store lacks that."""
    sessions = (Session(then, holds=True), Session(now, holds=True))
    for session in sessions:
        for step in PARTITIONED:
            fill(step, session, os.cpu_count() or 1)
    return sessions[0].inputs, sessions[1].inputs


def _point(live: Release, now: Job, found: Evaluation | None) -> Point:
    rows, metrics = (found.rows, dict(found.metrics)) if found else (0, {})
    return Point(live.tag, now.data_commit, _made_at(now), rows, metrics)


def _made_at(job: Job) -> float:
    assert job.data_repository is not None  # noqa: S101 - only newer commits get here
    return job.data_repository.commit(job.data_commit).date.timestamp()


def _event(live: Release, point: Point) -> UnseenEvaluated:
    found = _named(point.metrics) | {"rows": float(point.rows)}
    tested = {
        name: float(value) for name, each in live.evidence.metrics.items() if (value := each.get("value")) is not None
    }
    return UnseenEvaluated(live.model, live.tag, point.data_commit, point.at, found, tested)


def _named(metrics: Mapping[str, Estimate]) -> dict[str, float]:
    ends = {"": "value", ".low": "low", ".high": "high"}
    named = {f"{name}{end}": getattr(each, field) for name, each in metrics.items() for end, field in ends.items()}
    return {name: float(value) for name, value in named.items() if value is not None}


def _folder(live: Release, kind: str = "prequential") -> str:
    return f"{kind}/{live.model}/{live.version}"


def _read(content: bytes | None) -> Point | None:
    try:
        return msgspec.json.decode(content or b"", type=Point)
    except msgspec.DecodeError:
        return None
