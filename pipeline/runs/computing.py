"""Computing one step: what its key does not find in the store is made, measured, published and told to MLflow."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pipeline.errors import DamagedError, InputError, StoreError
from pipeline.messages import count, examples, quote, suggest
from pipeline.runs.costs import Cost, keep_cost, measure
from pipeline.runs.job import Job
from pipeline.runs.memory import returned_memory
from pipeline.runs.plan.last_runs import Ran, remember
from pipeline.runs.plan.planning import PARTITIONED, Node
from pipeline.runs.results import Made, StepResult
from pipeline.runs.session import Session
from pipeline.runs.tracking import StepDone
from pipeline.runs.work.table import LOADERS, Work
from pipeline.storage.artifacts import Artifact

# Warnings of a step that are said; the rest are counted.
_SAID_WARNINGS = 5


def refuse_unknown(step: str, partitions: Sequence[str] | None, known: Collection[str]) -> None:
    """Refuse partitions that there are not, and any for a step that does not work by partition."""
    if partitions and step not in PARTITIONED:
        raise InputError(
            f"{step}: found --partition {quote(partitions[0])}; expected none: only {', '.join(PARTITIONED)} work by "
            "partition"
        )
    if unknown := next((each for each in partitions or () if each not in known), None):
        expected = suggest(unknown, known, f"one of {examples(known)}")
        raise InputError(f"{step}: found no partition {quote(unknown)}; expected {expected} (--partition)")


def mend(session: Session, threads: int, act: Callable[[], StepResult]) -> StepResult:
    """Run a step; where it reads an artifact that is damaged, compute that one anew and run the step again.

    The result's reason says which were damaged.

    Raises
    ------
    DamagedError
        If no step of this run makes the artifact, or it is damaged again.
    """
    mended: dict[str, str] = {}
    while True:
        try:
            result = act()
        except DamagedError as damaged:
            if damaged.key in mended or not session.is_own(damaged):
                raise
            mended[damaged.key] = str(damaged).partition(" and must be")[0]
            partitions = [damaged.partition] if damaged.partition else None
            mend(session, threads, partial(compute, damaged.step, session, partitions, threads))
        else:
            told = "".join(f"; {each}, and was computed anew" for each in mended.values())
            return replace(result, reason=result.reason + told)


def compute(step: str, session: Session, partitions: Sequence[str] | None, threads: int) -> StepResult:
    """Compute a step where the store does not have it.

    Parameters
    ----------
    partitions : sequence of str or None
        For a partitioned step, only these.
    threads : int
        Partitions worked on at once.
    """
    nodes = _asked(session.chain.nodes(step), partitions)
    if waiting := next((node for node in nodes if node.recipe is None), None):
        raise InputError(
            f"{step}: the input of {waiting.partition or 'this step'} is not there; run the steps in order"
        )
    todo = [node for node in nodes if node.artifact is None or session.job.request.force]
    if not todo:
        return _reused(step, nodes)
    work = LOADERS[step]()
    address = os.environ.get("MODELRAIL_DASK") if step in PARTITIONED and len(todo) > 1 else None
    computed = _partitions(todo)
    with returned_memory(), measure() if address else accounted(session, step, computed) as cost:
        made = _spread(address, step, session, todo) if address else _make(work, session, todo, threads)
    done = _asked(session.chain.advance(step), partitions)
    _remember(session, todo, made)
    rows = _total_rows(done)
    run = _record(session, step, made, cost, rows)
    said = [each.manifest for _, each in made]
    say = made[0][1].say if len(made) == 1 else _say_all(computed, rows or 0, said)
    key = made[0][0].key if step not in PARTITIONED else None
    warned = _warnings(done)
    return StepResult(
        step, "ran", say, cost.seconds, rows, computed, _partitions(nodes) - computed, key, run, warnings=warned
    )


def fill(step: str, session: Session, threads: int) -> None:
    """Compute what the store lacks of a step, for all partitions; nobody is told of it."""
    if todo := [node for node in session.chain.nodes(step) if node.artifact is None]:
        with returned_memory(), accounted(session, step, _partitions(todo)):
            _make(LOADERS[step](), session, todo, threads)
        session.chain.advance(step)


def _asked(nodes: Sequence[Node], partitions: Sequence[str] | None) -> list[Node]:
    asked = None if partitions is None else frozenset(partitions)
    return [node for node in nodes if node.is_asked(asked)]


def _partitions(nodes: Sequence[Node]) -> int:
    """Count the partitions that nodes are for; a node for all of the run counts as one."""
    return sum(max(1, len(each.partitions)) for each in nodes)


def _say_all(partitions: int, rows: int, reports: Sequence[Mapping[str, Any]]) -> str:
    """Sum up what was made of several partitions: rows that were set aside are not passed over."""
    aside = sum(each.get("rows_quarantined", 0) for each in reports)
    said = f"{count(partitions, 'partition')}, {count(rows, 'row')}"
    return f"{said}, {aside:,} quarantined" if aside else said


def accounted(session: Session, step: str, computed: int = 1) -> AbstractContextManager[Cost]:
    """Measure a block that does the work of a step, and keep what it cost, even if it fails."""
    job = session.job
    prices = job.spec.environment.prices
    return keep_cost(
        session.artifacts.store,
        model=job.model,
        step=step,
        run=session.run,
        computed=computed,
        data_commit=job.data_commit,
        spec_commit=job.spec_commit,
        environment=job.request.environment,
        trigger=job.request.trigger,
        prices=prices.model_dump() if prices else None,
    )


def _make(work: Work, session: Session, nodes: Sequence[Node], threads: int) -> list[tuple[Artifact, Made]]:
    if len(nodes) == 1 or threads == 1:
        return [_make_one(work, session, node) for node in nodes]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda node: _make_one(work, session, node), nodes))


def _spread(address: str, step: str, session: Session, nodes: Sequence[Node]) -> list[tuple[Artifact, Made]]:
    """Have a Dask cluster make the artifacts, each worker accounting for its own; find them in the store."""
    from pipeline.runs.dask import spread

    spread(address, session.job, step, [str(node.partition) for node in nodes], session.run)
    keys = [node.recipe.key for node in nodes if node.recipe]
    found = session.artifacts.find_all(keys)
    if len(found) < len(keys):
        raise StoreError(f"{step}: found nothing where Dask's workers have published; expected one MODELRAIL_STORE")
    return [(found[key], Made("", rows=found[key].manifest["rows"])) for key in keys]


def _make_one(work: Work, session: Session, node: Node) -> tuple[Artifact, Made]:
    assert node.recipe is not None  # noqa: S101 - the caller has refused nodes that wait
    with session.artifacts.store.draft() as folder:
        with measure() as cost:
            made = work(session, node, folder)
        artifact = session.artifacts.store.publish(node.recipe.key, folder, _manifest(session.job, node, made, cost))
    session.artifacts.keep(artifact)
    return artifact, made


def _remember(session: Session, todo: Sequence[Node], made: Sequence[tuple[Artifact, Made]]) -> None:
    ran = [
        Ran(node.recipe, node.partition, *(artifact.manifest[name] for name in ("seconds", "cpu_s", "peak_bytes")))
        for node, (artifact, _) in zip(todo, made, strict=True)
        if node.recipe
    ]
    remember(session.job.state, session.job.model, ran)


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
        end_s=cost.start_s + cost.seconds,
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
    key = nodes[0].artifact.key if nodes and nodes[0].artifact and step not in PARTITIONED else None
    return StepResult(
        step,
        "reused",
        "nothing changed",
        0.0,
        _total_rows(nodes),
        0,
        _partitions(nodes),
        key,
        warnings=_warnings(nodes),
    )


def _warnings(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Gather what the artifacts of a step warn of, each once; said whenever they are used, not only when made."""
    manifests = [node.artifact.manifest for node in nodes if node.artifact]
    listed = list(dict.fromkeys(each for manifest in manifests for each in manifest.get("warnings", ())))
    if len(listed) > _SAID_WARNINGS:
        listed[_SAID_WARNINGS:] = [f"and {len(listed) - _SAID_WARNINGS:,} more like these (report.json)"]
    return tuple(listed)


def _total_rows(nodes: Sequence[Node]) -> int | None:
    rows = [node.artifact.manifest["rows"] for node in nodes if node.artifact]
    return sum(rows) if rows and all(each is not None for each in rows) else None
