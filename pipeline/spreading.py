"""Partition work on a Dask cluster (``MODELRAIL_DASK``): its workers are sent as pods are, by the words of a command.

A worker needs what a pod needs (docs/pods.md): the same code, the store, and a clone of the spec. Artifacts go through
the store; between here and there nothing passes but the command, and the last line of one that failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.extras import require
from pipeline.job import Job
from pipeline.pods import errand_words, refuse_unclonable
from pipeline.recipes import methods_of, spec_digest

_BATCHES_EACH = 2
"""Batches for each thread of the workers, so that a slow one holds up little."""
_RETRIES = 2
"""Times that a batch goes to another worker when its own was lost."""
_TIMEOUT_S = 10
_WORKERS_S = 120


def scheduler() -> str | None:
    """Give the address of Dask's scheduler, if there is one to use."""
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
    require("dask", "MODELRAIL_DASK", address)
    opened = _opened(job, run)
    with _client(address) as client:
        size = max(1, -(-len(partitions) // (_threads(client, address) * _BATCHES_EACH)))
        batches = [partitions[start : start + size] for start in range(0, len(partitions), size)]
        words = [errand_words(opened, [step], batch, 1) for batch in batches]
        for code, said in client.gather(client.map(do, words, pure=False, retries=_RETRIES)):
            if code:
                raise _error(code)(said or f"{step}: found the exit code {code} of a Dask worker; see its log")


def _opened(job: Job, run: str) -> dict[str, Any]:
    repository = job.spec.run.repository or job.repository.origin() or ""
    refuse_unclonable(job.spec_path, job.uncommitted, job.spec_commit, repository)
    return {
        "request": {**job.request.to_json(), "data_commit": job.data_commit},
        "spec_path": job.spec_path,
        "spec_commit": job.spec_commit,
        "spec_digest": spec_digest(job.spec),
        "data_commit": job.data_commit,
        "repository": repository,
        "mlflow_run": None,  # the step is recorded as a whole, here
        "run": run,
        "methods": methods_of(job.spec),
    }


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


def do(words: Sequence[str]) -> tuple[int, str]:
    """Run a command of Modelrail on this machine; gives its exit code and, if it failed, what it said last."""
    environment = {name: value for name, value in os.environ.items() if name != "MODELRAIL_DASK"}
    command = [sys.executable, "-m", "pipeline", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip().rpartition("modelrail: ")[2]


def _error(code: int) -> Any:
    return {each.exit_code: each for each in (InputError, TransientError)}.get(code, ModelrailError)
