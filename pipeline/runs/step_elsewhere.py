"""Steps that run in a pod, or as a task of Dask: what the other machine is told, and what it leaves behind.

The other machine is told one command, ``modelrail step``, with its arguments. It clones the specs' repository at the
run's commit, does the steps, and leaves each step's result as a note in the store, where the sender reads it. Artifacts
and MLflow runs are where they always are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, ModelrailError
from pipeline.home import home, store_address, working
from pipeline.runs.computing import accounted
from pipeline.runs.job import Job, open_job
from pipeline.runs.opened_run import OpenedRun
from pipeline.runs.plan.planning import PARTITIONED
from pipeline.runs.plan.recipes import STEPS, method_digests
from pipeline.runs.pods.step_pod import addresses, manifest, step_command, threads_of
from pipeline.runs.results import StepResult
from pipeline.runs.running import pinned, run_step
from pipeline.runs.session import Session
from pipeline.runs.wording import describe_step
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.placement import companions, placement
from pipeline.spec.schema.run import StepName
from pipeline.spec.schema.spec import Spec
from pipeline.storage.artifacts import open_store
from pipeline.storage.git.credentials import CredentialsProvider
from pipeline.storage.git.mirrors import check_out


def pod_of(opened: OpenedRun, step: StepName, partitions: Sequence[str] | None) -> tuple[Spec, dict[str, Any]]:
    """Build the pod that does a step of an opened run, and those that share its pod; return the spec and the pod."""
    spec = spec_of(opened)
    steps = [step, *companions(spec.run, step)]
    words = step_command(opened, steps, partitions, threads_of(placement(spec.run, step)))
    return spec, manifest(spec, step, words, addresses(os.environ))


def spec_of(opened: OpenedRun) -> Spec:
    """Load the spec of an opened run, as its environment changes it."""
    return load_spec(opened.request.spec, opened.request.environment).spec


def do(
    opened: OpenedRun,
    place: tuple[str, str, str],
    steps: Sequence[str],
    partitions: Sequence[str] | None,
    threads: int,
    say: Callable[[str], None],
) -> None:
    """Do the steps that another machine has sent; raise the first one's error, leave a later one to its own task.

    Parameters
    ----------
    place : tuple of str
        URL and commit of the specs' repository, and the path of the spec in it.
    say : callable
        Is told, in a line each, what was done.
    """
    mine = _arrive(opened, place)
    store = open_store(store_address(home()), home())
    for step in steps:
        batch = partitions if step in PARTITIONED else None
        try:
            result = run_step(step, mine, batch, threads)
        except ModelrailError as error:
            if step == steps[0]:
                raise
            say(f"{step}: left to its own task: {error}")
            return
        store.write_note(_note(opened, step, batch), json.dumps(result.to_json()).encode())
        for line in describe_step(result):
            say(line)


def do_trials(opened: OpenedRun, place: tuple[str, str, str], rows: int, numbers: Collection[int]) -> str:
    """Fit some parameter sets of a search; return the line that the searching process reads."""
    from pipeline.runs.memory import returned_memory  # imports pandas and the like: only where something is computed
    from pipeline.runs.work.training import try_params

    mine = _arrive(opened, place)
    with working(home()):
        session = Session(open_job(pinned(mine)), run=opened.run, holds=True)
        with returned_memory(), accounted(session, "train", 0):
            return try_params(session.inputs, rows, numbers)


def _arrive(opened: OpenedRun, place: tuple[str, str, str]) -> OpenedRun:
    """Clone the spec, and return the opened run with the paths of this machine."""
    repository, commit, spec = place
    path = check_out(repository, commit, home()) / spec
    mine = replace(opened, request=replace(opened.request, spec=str(path)))
    _refuse_other_code(open_job(pinned(mine)), opened)
    return mine


def result_of(opened: OpenedRun, step: str, partitions: Sequence[str] | None) -> StepResult | None:
    """Read the result that a pod or task has left of a step; None if it has not done it."""
    state = home(Path(opened.request.spec))
    name = _note(opened, step, partitions if step in PARTITIONED else None)
    content = open_store(store_address(state), state).notes(_folder(opened)).get(name)
    return None if content is None else StepResult.from_json(json.loads(content))


def forget(opened: OpenedRun) -> None:
    """Remove the notes that a run's pods have left: the run has ended, and its tasks have their results."""
    state = home(Path(opened.request.spec))
    open_store(store_address(state), state).remove_notes(_folder(opened))


def is_there(
    opened: OpenedRun, step: str, partitions: Sequence[str] | None, provider: CredentialsProvider | None = None
) -> bool:
    """Tell whether the store has all that a step would make, so that nobody needs to be sent."""
    if step not in STEPS or opened.request.force:
        return False
    nodes = Session(open_job(pinned(opened), provider)).chain.nodes(step)
    return all(node.artifact for node in nodes if node.is_asked(partitions))


def _refuse_other_code(job: Job, opened: OpenedRun) -> None:
    here, there = method_digests(job.spec), opened.methods
    if other := [step for step in there if here.get(step) != there[step]]:
        raise InputError(
            f"{other[0]}: found other code or libraries ({job.code}) than where the run was planned; expected the same:"
            " build the image of this commit anew ('modelrail images build pipeline') and name it in run.image"
        )


def _note(opened: OpenedRun, step: str, partitions: Sequence[str] | None) -> str:
    batch = "" if partitions is None else "-" + hashlib.sha256(json.dumps([*partitions]).encode()).hexdigest()[:12]
    return f"{_folder(opened)}/{step}{batch}.json"


def _folder(opened: OpenedRun) -> str:
    return f"runs/{opened.run}"
