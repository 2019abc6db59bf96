"""Running: one step, or all of them in order.

The same steps run in one process (``run``), and as tasks of Airflow, in pods or one at a time from the command
line (``open_run``, ``run_step``, ``close_run``). Between steps nothing passes but artifacts, found in the store by
their keys, and a small JSON document that says which commits the run is about.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.accounting import Cost, measure
from pipeline.errors import InputError, ModelrailError
from pipeline.history import remember
from pipeline.home import tracking_address
from pipeline.job import WORK_TREE, Job, RunRequest, open_job
from pipeline.planning import ORDER, PARTITIONED, Node, PlannedStep
from pipeline.recipes import STEPS, digest_of
from pipeline.session import Made, Session, StepResult
from pipeline.store import Artifact, FolderStore
from pipeline.tracking import DirectRecorder, PipedRecorder, Recorder, RunClosed, RunOpened, StepDone

Outcome = Literal["released", "not released", "unchanged", "failed"]
Opened = dict[str, Any]
Report = Callable[[StepResult], None]

PLATFORMS = ("local",)
_BATCHES = 4


def open_run(request: RunRequest) -> Opened:
    """Begin a run: resolve its commits, plan it, and open its MLflow run if there is anything to compute.

    Returns
    -------
    dict
        JSON-able; what ``run_step`` and ``close_run`` need to know. ``batches`` are the partitions to clean and
        transform, in at most four groups.
    """
    session = Session(open_job(request))
    _refuse_platform(session.job)
    steps = session.plan()
    if _has_news(session, steps):
        session.recorder = _direct(session.job)
        session.recorder.tell(_opening(session.job))
    return _opened(session, steps)


def run_step(step: str, opened: Opened, partitions: Sequence[str] | None = None) -> dict[str, Any]:
    """Run one step of an opened run, or reuse what is there.

    Parameters
    ----------
    partitions : sequence of str, optional
        For clean and transform: only these.

    Returns
    -------
    dict
        JSON-able: a ``StepResult``, flat.
    """
    request = RunRequest.from_json(opened["request"])
    commit = opened["data_commit"] if opened["data_commit"] != WORK_TREE else None
    job = open_job(request if request.data_commit or not commit else replace(request, data_commit=commit))
    _refuse_other_spec(job, opened)
    session = Session(job)
    if opened["mlflow_run"]:
        session.recorder = _direct(job, opened["mlflow_run"])
    return _run_step(step, session, partitions, threads=1 if partitions else os.cpu_count() or 1).to_json()


def close_run(opened: Opened, outcome: Outcome) -> None:
    """End the MLflow run of an opened run."""
    if opened["mlflow_run"]:
        job = open_job(RunRequest.from_json(opened["request"]))
        _direct(job, opened["mlflow_run"]).tell(_closing(outcome))


def run_one(step: str, request: RunRequest, partitions: Sequence[str] | None, mlflow_run: str | None) -> dict[str, Any]:
    """Run one step by itself, without having opened a run."""
    job = open_job(request)
    opened = {
        "request": request.to_json(),
        "data_commit": job.data_commit,
        "spec_digest": spec_digest(job),
        "mlflow_run": mlflow_run,
    }
    return run_step(step, opened, partitions)


def run(request: RunRequest, report: Report) -> tuple[Outcome, list[StepResult]]:
    """Run all steps in this process; what changed is computed, the rest is reused.

    Parameters
    ----------
    report : callable
        Told of each step as it ends.

    Returns
    -------
    Outcome
        ``released``, ``not released`` (the gate, or uncommitted changes) or ``unchanged`` (the newest release is
        this very model).
    list of StepResult
        One for each step, in order.
    """
    session = Session(open_job(request))
    _refuse_platform(session.job)
    if isinstance(session.store, FolderStore):
        session.store.sweep()
    if not _has_news(session, session.plan()):
        return _run_all(session, report)
    recorder = _recorder(session.job)
    recorder.tell(_opening(session.job))
    session.recorder = recorder
    try:
        outcome, results = _run_all(session, report)
    except BaseException:
        recorder.tell(_closing("failed"))
        with suppress(ModelrailError):  # the first error is the one to tell
            recorder.finish()
        raise
    recorder.tell(_closing(outcome))
    recorder.finish()
    return outcome, results


def _run_all(session: Session, report: Report) -> tuple[Outcome, list[StepResult]]:
    results = []
    for step in ORDER:
        results.append(_run_step(step, session, None, threads=os.cpu_count() or 1))
        report(results[-1])
    return outcome_of(results), results


def outcome_of(results: Sequence[StepResult]) -> Outcome:
    """Say in a word how a run went that did not fail."""
    release = next(each for each in results if each.step == "release")
    if not release.facts["released"]:
        return "not released"
    return "unchanged" if release.action == "reused" else "released"


def _run_step(step: str, session: Session, partitions: Sequence[str] | None, *, threads: int) -> StepResult:
    if step in STEPS:
        return _compute_step(step, session, partitions, threads)
    from pipeline.delivery import DELIVERY  # what it needs is not needed to plan

    if step not in DELIVERY:
        raise InputError(f"found the step '{step}'; expected one of {', '.join(ORDER)}")
    return DELIVERY[step](session)


def _compute_step(step: str, session: Session, partitions: Sequence[str] | None, threads: int) -> StepResult:
    nodes = [node for node in session.nodes()[step] if partitions is None or node.partition in partitions]
    if waiting := next((node for node in nodes if node.recipe is None), None):
        raise InputError(
            f"{step}: the input of {waiting.partition or 'this step'} is not there; run the steps in order"
        )
    todo = [node for node in nodes if node.artifact is None or session.job.request.force]
    if not todo:
        return _reused(step, nodes)
    with measure() as cost:
        made = _make(session, todo, threads)
    _remember(session, made)
    rows = _total_rows(session, nodes)
    run = _record(session, step, made, cost, rows)
    say = made[0][1].say if len(made) == 1 else f"{len(made)} partitions, {rows:,} rows"
    key = made[0][0].key if step not in PARTITIONED else None
    return StepResult(step, "ran", say, cost.seconds, rows, len(todo), len(nodes) - len(todo), key, run)


def _make(session: Session, nodes: Sequence[Node], threads: int) -> list[tuple[Artifact, Made]]:
    if len(nodes) == 1 or threads == 1:
        return [_make_one(session, node) for node in nodes]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda node: _make_one(session, node), nodes))


def _make_one(session: Session, node: Node) -> tuple[Artifact, Made]:
    from pipeline.work import WORK  # imports pandas and the like: only once there is something to compute

    assert node.recipe is not None  # noqa: S101 - the caller has refused nodes that wait
    with session.store.draft() as folder:
        with measure() as cost:
            made = WORK[node.step](session, node, folder)
        artifact = session.store.publish(node.recipe.key, folder, _manifest(session.job, node, made, cost))
    session.keep(artifact)
    return artifact, made


def _remember(session: Session, made: Sequence[tuple[Artifact, Made]]) -> None:
    manifests = [artifact.manifest for artifact, _ in made]
    entries = {
        f"{each['step']}/{each['partition'] or 'all'}": {"key": each["key"], "seconds": each["seconds"]}
        for each in manifests
    }
    remember(session.job.state, session.job.model, entries)


def _manifest(job: Job, node: Node, made: Made, cost: Cost) -> dict[str, Any]:
    return {
        "step": node.step,
        "partition": node.partition,
        "model": job.model,
        "recipe": node.recipe.to_json() if node.recipe else None,
        "commits": {"data": job.data_commit, "spec": job.spec_commit, "code": job.code},
        "rows": made.rows,
        "seconds": round(cost.seconds, 3),
        "cpu_s": round(cost.cpu_s, 3),
        "peak_bytes": cost.peak_bytes,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **made.manifest,
    }


def _record(
    session: Session,
    step: str,
    made: Sequence[tuple[Artifact, Made]],
    cost: Cost,
    rows: int | None,
) -> str | None:
    """Tell MLflow of a step; a partitioned one is told as a whole."""
    if session.recorder is None:
        return None
    artifacts = [artifact for artifact, _ in made]
    size = sum(file["bytes"] for artifact in artifacts for file in artifact.manifest["files"].values())
    one = made[0][1] if len(made) == 1 else Made("")
    used = {"seconds": cost.seconds, "cpu_s": cost.cpu_s, "peak_memory_mb": cost.peak_bytes / 1e6, "bytes": float(size)}
    files = {str(artifacts[0].file(name)): step for name in one.files}
    event = StepDone(
        name=step,
        start_s=cost.start_s,
        end_s=cost.end_s,
        tags={"modelrail.step": step, "modelrail.key": artifacts[0].key, "modelrail.partitions": str(len(made))},
        params=one.params,
        metrics=used | ({} if rows is None else {"rows": float(rows)}) | dict(one.metrics),
        curves=one.curves,
        files=files,
        headline=one.headline,
        children=list(one.children),
    )
    return session.recorder.tell(event) or None


def _reused(step: str, nodes: Sequence[Node]) -> StepResult:
    rows = [node.artifact.manifest["rows"] for node in nodes if node.artifact]
    total = sum(rows) if rows and all(each is not None for each in rows) else None
    key = nodes[0].artifact.key if nodes and nodes[0].artifact and step not in PARTITIONED else None
    return StepResult(step, "reused", "nothing changed", 0.0, total, 0, len(nodes), key)


def _total_rows(session: Session, nodes: Sequence[Node]) -> int | None:
    found = [session.find(node.recipe.key) for node in nodes if node.recipe]
    rows = [artifact.manifest["rows"] for artifact in found if artifact]
    return None if any(each is None for each in rows) else sum(rows)


def _has_news(session: Session, steps: Sequence[PlannedStep]) -> bool:
    """Tell whether there is anything for MLflow to record."""
    from pipeline.delivery import is_pending

    return any(each.action != "reuse" for each in steps) or is_pending(session)


def _opened(session: Session, steps: Sequence[PlannedStep]) -> Opened:
    job = session.job
    todo = list(dict.fromkeys(each.partition for each in steps if each.partition and each.action != "reuse"))
    size = max(1, -(-len(todo) // _BATCHES))
    return {
        "request": job.request.to_json(),
        "model": job.model,
        "data_commit": job.data_commit,
        "spec_commit": job.spec_commit,
        "spec_digest": spec_digest(job),
        "dirty": bool(job.uncommitted),
        "mlflow_run": session.recorder.run_id() if session.recorder else None,
        "partitions": len(job.partitions),
        "batches": [todo[start : start + size] for start in range(0, len(todo), size)],
        "steps": summarize(steps),
    }


def summarize(steps: Sequence[PlannedStep]) -> list[dict[str, Any]]:
    """Give one line a step: how many partitions run, wait and are reused, the reasons, the estimated seconds."""
    lines = []
    for step in STEPS:
        mine = [each for each in steps if each.step == step]
        counts: Counter[str] = Counter(each.action for each in mine)
        estimates = [each.estimate_s for each in mine]
        known = sum(each for each in estimates if each is not None)
        reasons = list(dict.fromkeys(each.reason for each in mine if each.action != "reuse"))
        lines.append(
            {
                "step": step,
                "action": next((action for action in ("run", "wait") if counts[action]), "reuse"),
                **{action: counts[action] for action in ("run", "wait", "reuse")},
                "reason": "; ".join(reasons[:3]) or "nothing changed",
                "estimate_s": None if None in estimates else round(known, 1),
            }
        )
    return lines


def spec_digest(job: Job) -> str:
    """Hash the spec as it was read, to notice one that is edited while a run is going on."""
    return digest_of(job.spec.model_dump(mode="json"))


def _refuse_other_spec(job: Job, opened: Opened) -> None:
    if spec_digest(job) != opened["spec_digest"]:
        raise InputError(f"{job.spec_path}: found another spec than when the run began; expected the same: start anew")


def _refuse_platform(job: Job) -> None:
    platform = job.spec.environment.platform
    if platform not in PLATFORMS:
        raise InputError(
            f"{job.spec_path}: environment.platform: found '{platform}', which 'check' and 'plan' know but no run can"
            f" deploy to yet; expected {' or '.join(PLATFORMS)}"
        )


def _recorder(job: Job) -> Recorder:
    """Record in a second process, unless this one has imported MLflow already."""
    if "mlflow" in sys.modules:
        return _direct(job)
    return PipedRecorder(tracking_address(job.state), job.state / "mlartifacts")


def _direct(job: Job, run: str | None = None) -> DirectRecorder:
    return DirectRecorder(tracking_address(job.state), job.state / "mlartifacts", run)


def _opening(job: Job) -> RunOpened:
    request = job.request
    facts = {
        "data_commit": job.data_commit,
        "spec_commit": job.spec_commit or "none",
        "code": job.code,
        "spec": job.spec_path,
        "uncommitted": ", ".join(job.uncommitted[:20]),
        "environment": request.environment or "",
        "as_of": request.as_of or "",
        "reason": request.reason,
        "trigger": request.trigger,
        "partitions": str(len(job.partitions)),
    }
    tags = {f"modelrail.{name}": value for name, value in facts.items() if value}
    if job.spec.model.description:
        tags["mlflow.note.content"] = job.spec.model.description
    dataset = {"name": job.spec.data.files or "line", "digest": job.data_commit, "source": job.data_address}
    return RunOpened(job.model, f"{job.model} {job.data_commit[:10]}", tags, dataset)


def _closing(outcome: Outcome) -> RunClosed:
    return RunClosed("FAILED" if outcome == "failed" else "FINISHED", {"modelrail.outcome": outcome})
