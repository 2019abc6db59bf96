"""Running: one step, or all of them in order.

The same steps run in one process (``run``), and as tasks of Airflow, in pods or one at a time from the command
line (``open_run``, ``run_step``, ``close_run``). Between steps nothing passes but artifacts, found in the store by
their keys, and a small JSON document that says which commits the run is about.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from pipeline.errors import DamagedError, InputError, ModelrailError, OvertakenError, TransientError
from pipeline.home import home, tracking_address, working
from pipeline.retries import attempts
from pipeline.runs.computing import accounted, compute, mend, refuse_unknown
from pipeline.runs.job import BUILT_IN, WORK_TREE, Job, open_job
from pipeline.runs.opened_run import OpenedRun, StepPlan
from pipeline.runs.plan.planning import ORDER, PlannedStep
from pipeline.runs.plan.recipes import STEPS, method_digests, spec_digest
from pipeline.runs.preflight import require_extras, require_ready
from pipeline.runs.prequential import Point, evaluate_newer
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.session import Session
from pipeline.runs.tracking import DirectRecorder, LookedBack, PipedRecorder, Recorder, RunClosed, RunOpened
from pipeline.spec.placement import is_led, most_batches, pod_steps
from pipeline.storage.artifacts import FolderStore
from pipeline.storage.git.credentials import CredentialsProvider

Outcome = Literal["released", "not released", "unchanged", "failed"]
Report = Callable[[StepResult], None]

_MOST = 10  # a fleet of runs may deploy to one environment


def open_run(request: RunRequest, provider: CredentialsProvider | None = None) -> OpenedRun:
    """Begin a run: resolve its commits, plan it, and open its MLflow run if there is anything to compute.

    Parameters
    ----------
    provider : callable, optional
        As for `open_job`, here and below.
    """
    with working(home(Path(request.spec).resolve())):
        return _open_run(open_job(request, provider))


def _open_run(job: Job) -> OpenedRun:
    session, pods = Session(job, holds=True), pod_steps(job.spec.run)
    require_extras(job, pods)
    session.refresh()
    steps = session.plan()
    opened = _opened(session, steps)
    if not _has_news(session, steps):
        return opened
    require_ready(job, pods)
    recorder = _direct(session.job)
    recorder.tell(_opening(session))
    return replace(opened, mlflow_run=recorder.run_id(), mlflow_experiment=recorder.experiment_id())


def run_step(
    step: str,
    opened: OpenedRun,
    partitions: Sequence[str] | None = None,
    threads: int | None = None,
    provider: CredentialsProvider | None = None,
) -> StepResult:
    """Run one step of an opened run, or reuse what is there.

    Parameters
    ----------
    partitions : sequence of str, optional
        For clean and transform: only these.
    threads : int, optional
        Partitions worked on at once; by default one if other processes work too, else one for each CPU.
    """
    request = pinned(opened)
    with working(home(Path(request.spec).resolve())):
        job = open_job(request, provider)
        return _run_opened(step, opened, job, partitions, threads or (1 if partitions else os.cpu_count() or 1))


def _run_opened(step: str, opened: OpenedRun, job: Job, partitions: Sequence[str] | None, threads: int) -> StepResult:
    _refuse_other_spec(job, opened)
    session = Session(job, run=opened.run, holds=True)
    if opened.mlflow_run:
        session.recorder = _direct(job, opened.mlflow_run)
    return _run_step(step, session, partitions, threads=threads)


def close_run(opened: OpenedRun, outcome: Outcome, provider: CredentialsProvider | None = None) -> None:
    """End the MLflow run of an opened run."""
    request = pinned(opened)
    replayed = request.replay and request.as_of and outcome != "failed"
    if not (opened.mlflow_run or replayed):
        return
    job = open_job(request, provider)
    recorder = _direct(job, opened.mlflow_run)
    if replayed:
        recorder.tell(_point(Session(job)))
    if opened.mlflow_run:
        recorder.tell(_closing(outcome))


def pinned(opened: OpenedRun) -> RunRequest:
    """Return the request with the commit that was found when the run began: it is held here, and not fetched again."""
    request, commit = opened.request, opened.data_commit
    return request if commit in (WORK_TREE, BUILT_IN) else replace(request, data_commit=commit)


def _point(session: Session) -> LookedBack:
    """Return a replayed date's metrics, whether they were computed now or reused."""
    model = session.chain.artifact("train")
    rivals = (session.assignments.champion(model.digest), *reversed(session.assignments.releases()), None)
    found = json.loads(session.chain.evaluation(rivals).file("evaluation.json").read_bytes())
    metrics: dict[str, float] = {}
    for name, estimate in found["candidate"]["metrics"].items():
        values = {name: estimate["value"], f"{name}.low": estimate["low"], f"{name}.high": estimate["high"]}
        metrics |= {each: value for each, value in values.items() if value is not None}
    job = session.job
    as_of, digest = str(job.request.as_of)[:10], spec_digest(job.spec)
    return LookedBack(job.model, job.data_commit, as_of, metrics, spec=digest, spec_commit=job.spec_commit)


def run_one(
    step: str,
    request: RunRequest,
    partitions: Sequence[str] | None,
    mlflow_run: str | None,
    threads: int | None = None,
) -> StepResult:
    """Run one step by itself, without having opened a run."""
    job = open_job(request)
    opened = OpenedRun(request, job.data_commit, spec_digest(job.spec), uuid.uuid4().hex[:12], mlflow_run)
    return run_step(step, opened, partitions, threads)


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
    with working(home(Path(request.spec).resolve())):
        return _run(request, report)


def _run(request: RunRequest, report: Report) -> tuple[Outcome, list[StepResult]]:
    session = Session(open_job(request), holds=True)
    require_extras(session.job)
    session.refresh()
    if isinstance(session.artifacts.store, FolderStore):
        session.artifacts.store.sweep()
    if not _has_news(session, session.plan()):
        return _run_all(session, report)
    require_ready(session.job)
    recorder = _recorder(session.job)
    recorder.tell(_opening(session))
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
    if not release.facts.released:
        return "not released"
    return "unchanged" if release.action == "reused" else "released"


def _run_step(step: str, session: Session, partitions: Sequence[str] | None, *, threads: int) -> StepResult:
    refuse_unknown(step, partitions, session.job.partitions)
    if step in STEPS:
        known = _evaluate_live(session) if step == "normalize" else (None, ())
        result = mend(session, threads, partial(compute, step, session, partitions, threads))
        return _with_point(result, *known)
    from pipeline.runs.delivery_steps import DELIVERY  # what it needs is not needed to plan

    if step not in DELIVERY:
        raise InputError(f"found the step '{step}'; expected one of {', '.join(ORDER)}")
    if session.recorder is None:  # nothing was computed: the release that is there is confirmed
        return _deliver(DELIVERY[step], step, session, threads)
    with accounted(session, step):
        return mend(session, threads, partial(_deliver, DELIVERY[step], step, session, threads))


def _evaluate_live(session: Session) -> tuple[Point | None, tuple[str, ...]]:
    """Judge what is live on the rows that are new, before anything is fitted to them; say why where that fails.

    It is not what the run is for, so the run goes on.
    """
    try:
        return evaluate_newer(session), ()
    except ModelrailError as error:
        return None, (f"what is live was not evaluated on the new rows: {error}",)


def _with_point(result: StepResult, point: Point | None, warnings: tuple[str, ...]) -> StepResult:
    told = f"; {point.text}" if point and point.rows else ""
    return replace(result, reason=result.reason + told, warnings=(*result.warnings, *warnings))


def _deliver(act: Callable[[Session], StepResult], step: str, session: Session, threads: int) -> StepResult:
    """Release, deploy or verify by what is so now: whoever promotes or rolls back meanwhile has the last word."""
    for _ in attempts(_MOST):
        session.refresh()
        (evaluation,) = session.chain.nodes("evaluate")
        if evaluation.recipe is not None and evaluation.artifact is None:  # another release is live than it was held to
            compute("evaluate", session, None, threads)
        with suppress(OvertakenError):
            return act(session)
    raise TransientError(f"{step}: what should be live has changed {_MOST} times while this run decided; run again")


def _has_news(session: Session, steps: Sequence[PlannedStep]) -> bool:
    """Tell whether there is anything for MLflow to record."""
    if any(each.action != "reuse" for each in steps):
        return True
    from pipeline.runs.candidates import is_pending  # what judges a model is not needed to plan

    try:
        return is_pending(session)
    except DamagedError as damaged:
        if not session.is_own(damaged):
            raise
        return True


def _opened(session: Session, steps: Sequence[PlannedStep]) -> OpenedRun:
    job = session.job
    todo = list(dict.fromkeys(each.partition for each in steps if each.partition and each.action != "reuse"))
    size = max(1, -(-len(todo) // most_batches(job.spec.run)))
    opened = OpenedRun(
        request=job.request,
        model=job.model,
        data_commit=job.data_commit,
        spec_path=job.spec_path,
        spec_commit=job.spec_commit,
        spec_digest=spec_digest(job.spec),
        dirty=bool(job.uncommitted),
        run=session.run,
        partitions=len(job.partitions),
        batches=tuple(tuple(todo[start : start + size]) for start in range(0, len(todo), size)),
        steps=summarize(steps),
    )
    return _with_pods(opened, job) if pod_steps(job.spec.run) else opened


def _with_pods(opened: OpenedRun, job: Job) -> OpenedRun:
    """Add what the pods of steps need, and refuse what they could not reach."""
    from pipeline.runs.pods.step_pod import addresses, refuse_unclonable  # knows of clusters: only where there are pods

    spec, pods = job.spec, pod_steps(job.spec.run)
    repository = spec.run.repository or job.repository.origin() or ""
    refuse_unclonable(job.spec_path, job.uncommitted, job.spec_commit, repository)
    addresses(os.environ)
    led = tuple(step for step in pods if is_led(spec.run, step))
    return replace(opened, pods=tuple(pods), led=led, repository=repository, methods=method_digests(spec))


def summarize(steps: Sequence[PlannedStep]) -> tuple[StepPlan, ...]:
    """Return one line a step: how many partitions run, wait and are reused, the reasons, the estimated seconds."""
    return tuple(_summarize(step, [each for each in steps if each.step == step]) for step in STEPS)


def _summarize(step: str, mine: Sequence[PlannedStep]) -> StepPlan:
    counts: Counter[str] = Counter()
    for each in mine:
        counts[each.action] += each.partitions
    estimates = [each.estimate_s for each in mine]
    known = sum(each for each in estimates if each is not None)
    reasons = list(dict.fromkeys(each.reason for each in mine if each.action != "reuse"))
    return StepPlan(
        step=step,
        action=next((action for action in ("run", "wait") if counts[action]), "reuse"),
        run=counts["run"],
        wait=counts["wait"],
        reuse=counts["reuse"],
        reason="; ".join(reasons[:3]) or "nothing changed",
        estimate_s=None if None in estimates else round(known, 1),
    )


def _refuse_other_spec(job: Job, opened: OpenedRun) -> None:
    if spec_digest(job.spec) != opened.spec_digest:
        raise InputError(f"{job.spec_path}: found another spec than when the run began; expected the same: start anew")


def _recorder(job: Job) -> Recorder:
    """Record in a second process, unless this one has imported MLflow already."""
    if "mlflow" in sys.modules:
        return _direct(job)
    return PipedRecorder(tracking_address(job.state), job.state / "mlartifacts")


def _direct(job: Job, run: str | None = None) -> DirectRecorder:
    return DirectRecorder(tracking_address(job.state), job.state / "mlartifacts", run)


def _opening(session: Session) -> RunOpened:
    job, request = session.job, session.job.request
    facts = {
        "run": session.run,
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
    shown = {
        "user": job.repository.who(),
        "source.name": job.spec_path,
        "source.git.commit": job.spec_commit,
        "note.content": job.spec.model.description,
    }
    named = {f"modelrail.{name}": value for name, value in facts.items()}
    named |= {f"mlflow.{name}": value for name, value in shown.items()}
    tags = {name: value for name, value in named.items() if value}
    dataset = {"name": job.spec.data.files or "line", "digest": job.data_commit, "source": job.data_address}
    return RunOpened(job.model, f"{job.model} {job.data_commit[:10]}", tags, dataset)


def _closing(outcome: Outcome) -> RunClosed:
    return RunClosed("FAILED" if outcome == "failed" else "FINISHED", {"modelrail.outcome": outcome})
