"""Partition work on a Dask cluster: a real scheduler and two workers, each a process with a state of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError, TransientError
from pipeline.runs.costs import read_costs
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.session import Session
from tests.conftest import Commit, git
from tests.ports import CLOSED
from tests.runs.test_running import SPEC, counts, month, run_job

pytestmark = [
    pytest.mark.extra("dask"),
    pytest.mark.xdist_group("dask"),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running"),
]


@dataclass(frozen=True)
class Cluster:
    address: str
    folder: Path

    def workers(self) -> set[str]:
        """Return the workers that have cloned the spec."""
        return {each.name for each in self.folder.iterdir() if (each / "state" / "repositories").exists()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start a scheduler and two workers."""
    from distributed import Client

    folder = tmp_path_factory.mktemp("dask")
    where = str(folder / "scheduler.json")  # says the port, which the system gives: a chosen one may be taken meanwhile
    at = ["--scheduler-file", where, "--no-dashboard"]
    scheduler = ["scheduler", *at, "--host", "tcp://127.0.0.1:0", "--no-show"]
    workers = [["worker", *at, "--nthreads", "1", "--name", name] for name in ("one", "two")]
    started = []
    for words in (scheduler, *workers):
        own = folder / words[-1].strip("-")
        own.mkdir()
        environment = os.environ | {"MODELRAIL_HOME": str(own / "state"), "MODELRAIL_STORE": str(folder / "store")}
        command = [sys.executable, "-m", "dask", *words]
        with (own / "log").open("wb") as log:
            started.append(subprocess.Popen(command, cwd=own, env=environment, stdout=log, stderr=log))
    with Client(scheduler_file=where, timeout=60) as client:
        client.wait_for_workers(2, timeout=120)
        address = client.scheduler.address
    yield Cluster(address, folder)
    for process in reversed(started):
        process.terminate()
        process.wait(20)


@pytest.fixture
def spec(project: Path, commit: Commit, cluster: Cluster, tracking: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELRAIL_DASK", cluster.address)
    monkeypatch.setenv("MODELRAIL_STORE", str(cluster.folder / "store"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    monkeypatch.chdir(project)
    files: dict[str, str | bytes] = {f"data/2013-{number:02}.csv": month(number) for number in range(1, 7)}
    text = SPEC.replace(
        "gate: {roc_auc: {at_least: 0.6, behind_champion_at_most: 0.05}}", "gate: {roc_auc: {at_least: 1}}"
    )
    commit({"models/late.yaml": text, ".gitignore": ".modelrail/\n", **files})
    git(project, "remote", "add", "origin", f"file://{project}")
    return project / "models/late.yaml"


def test_workers_do_the_partitions_and_the_result_is_the_same(
    spec: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, spread = run_job(spec)
    assert {step: counts(spread)[step] for step in ("clean", "transform")} == {"clean": (6, 0), "transform": (6, 0)}
    assert cluster.workers() == {"one", "two"}
    monkeypatch.delenv("MODELRAIL_DASK")
    monkeypatch.setenv("MODELRAIL_STORE", str(cluster.folder / "other"))
    _, alone = run_job(spec)
    assert alone["train"].key == spread["train"].key


SEARCH = "params: {max_iter: 50}, search: {trials: 4, method: halving, space: {C: {low: 0.001, high: 10, log: true}}}}"


def trained(spec: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the model of a run, and its report."""
    run_job(spec)
    artifact = Session(open_job(RunRequest(str(spec)))).chain.artifact("train")
    return artifact.file("model.onnx").read_bytes(), json.loads(artifact.file("training.json").read_bytes())


def test_workers_fit_the_trials_of_a_search_and_the_model_is_the_same(
    spec: Path, cluster: Cluster, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit({"models/late.yaml": spec.read_text().replace("target: late}", f"target: late, {SEARCH}", 1)})
    before = len(train_costs(spec))
    model, report = trained(spec)
    assert [each["round"] for each in report["trials"]] == [0, 0, 0, 0, 1, 1, 2]
    assert len(train_costs(spec)) - before == 1 + 4 + 2 + 1  # the model here, each trial on a worker
    monkeypatch.delenv("MODELRAIL_DASK")
    monkeypatch.setenv("MODELRAIL_STORE", str(cluster.folder / "searched alone"))
    assert trained(spec) == (model, report)
    assert len(train_costs(spec)) == 1


def train_costs(spec: Path) -> list[Any]:
    session = Session(open_job(RunRequest(str(spec))))
    return [each for each in read_costs(session.artifacts.store) if each.step == "train"]


def test_an_error_of_a_worker_is_told_as_its_own(spec: Path, commit: Commit) -> None:
    commit({"data/2013-07.csv": "id,delay\n1,2\n", "data/2013-08.csv": "id,delay\n1,2\n"})
    with pytest.raises(Exception, match=r"data/2013-0[78].csv.*found no column 'carrier'"):
        run_job(spec)


def test_what_workers_cannot_clone_is_refused(spec: Path, project: Path) -> None:
    spec.write_text(spec.read_text() + "\n# changed\n")
    with pytest.raises(InputError, match=r"models/late.yaml: found changes in a run with steps in pods"):
        run_job(spec, force=True)


def test_a_store_that_workers_do_not_reach_is_refused(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELRAIL_STORE", "MODELRAIL_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        InputError, match=r"found a store of this machine alone; expected one of all \(MODELRAIL_STORE\)"
    ):
        run_job(spec, force=True)


def test_a_scheduler_that_does_not_answer_is_worth_another_try(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELRAIL_DASK", f"tcp://127.0.0.1:{CLOSED}")
    monkeypatch.setattr("pipeline.runs.dask._TIMEOUT_S", 1)
    began = time.monotonic()
    with pytest.raises(TransientError, match="MODELRAIL_DASK: found no answer at"):
        run_job(spec, force=True)
    assert time.monotonic() - began < 30
