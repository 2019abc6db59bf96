"""With Airflow's own scheduler: ``airflow backfill create`` and ``modelrail backfill`` do the same thing."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.delivery.releases import releases
from pipeline.home import CHECKOUT
from pipeline.orchestration.services import Airflow, down, up
from pipeline.orchestration.services.settings import Places, make_environment
from pipeline.storage.git.repository import open_repository
from tests.conftest import git
from tests.databases import Databases

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore:subprocess .* is still running")]

SPEC = """\
model: {name: late, trainer: ridge, task: regression, target: y}
data: {repository: ../flights, files: "data/{month}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], bootstrap: 0}
schedule: {cron: "0 3 1 * *"}
"""
SPAN = ("2013-02-01", "2013-03-31")


def make_project(folder: Path) -> tuple[Path, str]:
    """Make a project with three months of data in another repository; gives it and the data commit."""
    project, data = folder / "project", folder / "flights"
    for each in (project / "models", data / "data"):
        each.mkdir(parents=True)
        git(each.parent, "init", "-q", "-b", "main")
    draw = random.Random(3)
    for month in (1, 2, 3):
        rows = "".join(f"{x},{month * x + draw.gauss(0, 1):.3f}\n" for x in range(80))
        (data / f"data/2013-{month:02}.csv").write_text(f"x,y\n{rows}")
    (project / "models/late.yaml").write_text(SPEC)
    (project / ".gitignore").write_text(".modelrail/\n")
    for each in (data, project):
        git(each, "add", "-A")
        git(each, "commit", "-q", "-m", "A start")
    return project, git(data, "rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def place(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str, Airflow, dict[str, str]]]:
    project, commit = make_project(tmp_path_factory.mktemp("backfills"))
    state = project / ".modelrail"
    databases.copy_mlflow(state / "mlflow.db")
    databases.copy_airflow(state)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))]:
            patch.delenv(name)
        try:
            services = up(state, project / "models", airflow_port=18381, mlflow_port=15300)
            ports = [urlsplit(each).port or 0 for each in (services.airflow_url, services.mlflow_url)]
            places = Places(state.resolve(), CHECKOUT, project / "models", *ports)
            with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
                yield project, commit, airflow, make_environment(places)
        finally:
            down(state)
            stop_all(state)


def wait_until_known(airflow: Airflow) -> None:
    deadline = time.monotonic() + 120
    while not airflow.request("GET", "/api/v2/dags?dag_id_pattern=late")["total_entries"]:
        assert time.monotonic() < deadline, "expected the DAG to be read"
        psutil.cpu_percent(0.2)


def wait_for_backfills(airflow: Airflow, count: int) -> None:
    deadline = time.monotonic() + 400
    while True:
        found = airflow.list_backfills("late")
        if len(found) == count and all(each["completed_at"] for each in found):
            return
        assert time.monotonic() < deadline, found
        psutil.cpu_percent(0.5)


def ended(airflow: Airflow) -> dict[str, dict[str, Any]]:
    """List what each date came to: the run's state and commit, what was trained, how good it is, why it is no release.

    Not the evaluation's key: the run that the schedule starts meanwhile may release what is evaluated against.
    """
    runs = airflow.request("GET", "/api/v2/dags/late/dagRuns?order_by=run_after")["dag_runs"]
    found = {}
    for run in (each for each in runs if each["run_type"] == "backfill"):
        tasks = {each.task_id: each for each in airflow.list_tasks("late", run["dag_run_id"])}
        results = {step: airflow.read_result("late", run["dag_run_id"], tasks[step]) for step in ("train", "release")}
        release = {name: results["release"][name] for name in ("released", "reason", "metrics")}
        key = results["train"]["key"]
        commit = run["conf"]["data_commit"]
        found[run["logical_date"][:10]] = {"state": run["state"], "commit": commit, "key": key, **release}
    return found


def walked(project: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(project / ".modelrail/mlflow.db")) as database:
        rows = database.execute(
            "select distinct r.name, m.key, m.step, m.value from metrics m join runs r using (run_uuid)"
            " where r.name like 'walk-forward%' order by 1, 2, 3"
        )
        return list(rows)


def test_airflows_own_command_and_modelrails_do_the_same(place: tuple[Path, str, Airflow, dict[str, str]]) -> None:
    project, commit, airflow, environment = place
    conf = json.dumps({"data_commit": commit})
    command = ["airflow", "backfill", "create", "--dag-id", "late", "--from-date", SPAN[0], "--to-date", SPAN[1]]
    wait_until_known(airflow)
    command += ["--dag-run-conf", conf]
    own = subprocess.run(command, env=environment, cwd="/", check=False, capture_output=True, text=True)
    assert own.returncode == 0, own.stdout + own.stderr
    wait_for_backfills(airflow, 1)
    first = ended(airflow)
    assert list(first) == ["2013-02-01", "2013-03-01"]
    assert {each["state"] for each in first.values()} == {"success"}
    assert {each["commit"] for each in first.values()} == {commit}
    assert [each["reason"] for each in first.values()] == [
        f"not released: a replay of {date} is evaluated only" for date in first
    ]
    points = walked(project)
    assert {each[2] for each in points if each[1] == "rmse"} != set()

    command = [sys.executable, "-m", "pipeline", "backfill", str(project / "models/late.yaml"), "--commit", commit]
    done = subprocess.run(
        [*command, "--from", SPAN[0], "--to", SPAN[1], "--json"], cwd="/", check=True, capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    assert [each["date"][:10] for each in told["dates"]] == list(first)
    assert told["spec_commit"] == git(project, "rev-parse", "HEAD").strip()
    (project / "models/late.yaml").write_text(SPEC.replace("ridge,", "ridge, params: {alpha: 9},"))
    git(project, "commit", "-q", "-a", "-m", "Another spec, while the backfill goes on")
    wait_for_backfills(airflow, 2)
    assert ended(airflow) == first
    assert walked(project) == points
    assert len(releases(open_repository(project), "late")) <= 1, "that of the run that the schedule started"
