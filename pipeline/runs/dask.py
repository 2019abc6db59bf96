"""Work on a Dask cluster (``MODELRAIL_DASK``): its workers are told one command, as pods are.

A worker needs what a pod needs (docs/pods.md): the same code, the store, and a clone of the spec. Artifacts go through
the store. Only the command, the line that it prints, and the last line of a failed one pass between the machines. So no
data and no model are pickled, and a worker returns nothing that could be executed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.extras import require
from pipeline.runs.job import Job
from pipeline.runs.opened_run import OpenedRun
from pipeline.runs.plan.recipes import method_digests, spec_digest
from pipeline.runs.pods.step_pod import refuse_unclonable, step_command

T = TypeVar("T")

_BATCHES_EACH = 2
"""Batches for each thread of the workers, so that a slow one holds up little."""
_RETRIES = 2
"""Times that a batch goes to another worker when its own was lost."""
_TIMEOUT_S = 10
_WORKERS_S = 120


def scheduler() -> str | None:
    """Read the address of Dask's scheduler, if there is one to use."""
    return os.environ.get("MODELRAIL_DASK") or None


def spread(address: str, job: Job, step: str, partitions: Sequence[str], run: str) -> None:
    """Have a Dask cluster do a step for partitions; afterwards their artifacts are in the store.

    Raises
    ------
    TransientError
        If the scheduler does not answer, or has no workers.
    ModelrailError
        The first error of a worker, with its message.
    """
    opened = _opened(job, run)
    _send(address, step, partitions, lambda batch: step_command(opened, [step], batch, 1))


def spread_trials(address: str, job: Job, rows: int, numbers: Sequence[int], run: str) -> list[str]:
    """Have a Dask cluster fit some parameter sets of the search; return what its workers answer.

    Parameters
    ----------
    rows : int
        Training rows that each is fitted on.
    numbers : sequence of int
        Of the parameter sets, in the order in which the search draws them.

    Raises
    ------
    TransientError, ModelrailError
        As `spread`.
    """
    opened = _opened(job, run)

    def words(batch: Sequence[int]) -> list[str]:
        trials = [word for number in batch for word in ("--trial", str(number))]
        return [*step_command(opened, ["train"], None, 1), *trials, "--rows", str(rows)]

    return _send(address, "train", numbers, words)


def _send(address: str, step: str, items: Sequence[T], words: Callable[[Sequence[T]], list[str]]) -> list[str]:
    """Divide items among the workers' threads; return what each command printed last."""
    require("dask", "MODELRAIL_DASK", address)
    with _client(address) as client:
        size = max(1, -(-len(items) // (_threads(client, address) * _BATCHES_EACH)))
        batches = [words(items[start : start + size]) for start in range(0, len(items), size)]
        done = client.gather(client.map(do, batches, pure=False, retries=_RETRIES))
    for code, said, _ in done:
        if code:
            raise _error(code)(said or f"{step}: found the exit code {code} of a Dask worker; see its log")
    return [printed for *_, printed in done]


def _opened(job: Job, run: str) -> OpenedRun:
    if not {"MODELRAIL_STORE", "MODELRAIL_HOME"} & set(os.environ):
        raise InputError("MODELRAIL_DASK: found a store of this machine alone; expected one of all (MODELRAIL_STORE)")
    repository = job.spec.run.repository or job.repository.origin() or ""
    refuse_unclonable(job.spec_path, job.uncommitted, job.spec_commit, repository)
    return OpenedRun(
        request=replace(job.request, data_commit=job.data_commit),
        spec_path=job.spec_path,
        spec_commit=job.spec_commit,
        spec_digest=spec_digest(job.spec),
        data_commit=job.data_commit,
        repository=repository,
        mlflow_run=None,  # the step is recorded as a whole, here
        run=run,
        methods=method_digests(job.spec),
    )


def _client(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout=_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise TransientError(f"MODELRAIL_DASK: found no answer at {address}; expected Dask's scheduler") from error


def _threads(client: Any, address: str) -> int:
    try:
        client.wait_for_workers(1, timeout=_WORKERS_S)  # a cluster may grow from none
    except TimeoutError as error:
        raise TransientError(f"MODELRAIL_DASK: found no workers at {address}; expected at least one") from error
    return sum(client.nthreads().values())


def do(words: Sequence[str]) -> tuple[int, str, str]:
    """Run a command of Modelrail on this machine; return its exit code, its error if it failed, its last line."""
    environment = {name: value for name, value in os.environ.items() if name != "MODELRAIL_DASK"}
    command = [sys.executable, "-m", "pipeline", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said, printed = done.stderr.strip().rpartition("modelrail: ")[2], done.stdout.strip().rpartition("\n")[2]
    return done.returncode, said, printed


def _error(code: int) -> Any:
    return {each.exit_code: each for each in (InputError, TransientError)}.get(code, ModelrailError)
