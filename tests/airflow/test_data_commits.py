"""With Airflow's own scheduler and triggerer: a push starts exactly one run, and replays become backfills."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError
from pipeline.operations.backfill import backfill, find_login, request_replay
from pipeline.operations.provenance.airflow_log import BY_ITSELF
from pipeline.orchestration.data_commits.replaying import Replay
from pipeline.orchestration.services import Airflow, down, up
from tests.conftest import git
from tests.databases import Databases

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore:subprocess .* is still running")]

SPEC = """\
model: {name: late, trainer: ridge, task: regression, target: y}
data: {repository: ../flights, files: "data/{month}.csv", columns: {x: float, y: float}}
schedule: {on_data_commit: every, cron: "0 3 1 * *"}
"""


class Place:
    """A project whose spec watches a data repository, and an Airflow that looks after both."""

    def __init__(self, folder: Path) -> None:
        self.project, self.data = folder / "project", folder / "flights"
        for each in (self.project / "models", self.data / "data"):
            each.mkdir(parents=True)
            git(each.parent, "init", "-q", "-b", "main")
        (self.project / "models" / "late.yaml").write_text(SPEC)
        (self.project / ".gitignore").write_text(".modelrail/\n")
        git(self.project, "add", "-A")
        git(self.project, "commit", "-q", "-m", "A spec")
        self.first = self.push(1)

    def push(self, number: int) -> str:
        (self.data / "data" / f"2013-{number:02d}.csv").write_text(f"x,y\n{number},1\n")
        git(self.data, "add", "-A")
        git(self.data, "commit", "-q", "-m", f"month {number}")
        return git(self.data, "rev-parse", "HEAD").strip()


@pytest.fixture(scope="module")
def place(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Airflow]]:
    made = Place(tmp_path_factory.mktemp("watching"))
    state = made.project / ".modelrail"
    databases.copy_mlflow(state / "mlflow.db")
    databases.copy_airflow(state)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))]:
            patch.delenv(name)
        try:
            services = up(state, made.project / "models", airflow_port=18181, mlflow_port=15100)
            with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
                yield made, airflow
        finally:
            down(state)


def ask(airflow: Airflow, path: str) -> dict[str, Any]:
    return airflow.request("GET", f"/api/v2/dags/{path}")


def wait_until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Ask again until it is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "expected it to come to be so"
        psutil.cpu_percent(0.2)


def runs_of(airflow: Airflow, dag: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    with suppress(InputError):  # Airflow has not read the DAG yet
        found = ask(airflow, f"{dag}/dagRuns?order_by=run_after")["dag_runs"]
    return found


def ids_of(airflow: Airflow) -> list[str]:
    return [each["dag_run_id"] for each in runs_of(airflow, "late") if each["run_type"] != "scheduled"]


def test_a_push_starts_exactly_one_run(place: tuple[Place, Airflow]) -> None:
    made, airflow = place
    wait_until(lambda: ids_of(airflow) == [f"data__{made.first}"])
    airflow.request("PATCH", "/api/v2/dags/late", json={"is_paused": True})
    pushed = made.push(2)
    wait_until(lambda: len(ids_of(airflow)) > 1)
    again = airflow.trigger("data_commits", {})
    wait_until(lambda: airflow.read_run("data_commits", again)["state"] in ("success", "failed"))
    assert airflow.read_run("data_commits", again)["state"] == "success"
    assert ids_of(airflow) == [f"data__{made.first}", f"data__{pushed}"]
    newest = next(each for each in runs_of(airflow, "late") if each["dag_run_id"] == f"data__{pushed}")
    assert newest["state"] == "queued"
    assert newest["conf"]["data_commit"] == pushed
    assert newest["conf"]["reason"] == f"data commit {pushed[:10]}, month 2: 2013-02"


def test_dates_are_run_anew_by_one_backfill_at_a_time(
    place: tuple[Place, Airflow], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, airflow = place
    monkeypatch.chdir(made.project)
    spec = made.project / "models" / "late.yaml"
    planned = backfill(spec, "2013-02-01", "2013-03-31", None, dry_run=True)
    assert [(at.date().isoformat(), seen) for at, seen in planned.dates] == [("2013-02-01", 1), ("2013-03-01", 2)]
    assert planned.id is None
    with pytest.raises(InputError, match="found no scheduled date from 2013-02-02 to 2013-02-03"):
        backfill(spec, "2013-02-02", "2013-02-03", None, dry_run=True)

    dates = (datetime(2013, 2, 1, 3, tzinfo=UTC), datetime(2013, 3, 1, 3, tzinfo=UTC))
    login, replay = find_login(), Replay(made.first, dates)
    assert login is not None
    airflow.request("PATCH", "/api/v2/dags/late", json={"is_paused": True})
    assert request_replay("late", replay, login) == "created"
    assert request_replay("late", replay, login) == "exists"
    assert request_replay("late", Replay("f" * 40, dates), login) == "busy"
    (known,) = airflow.list_backfills("late")
    assert known["dag_run_conf"]["data_commit"] == made.first

    told = json.loads(CliRunner().invoke(app, ["audit", "--json"]).output)
    assert told["notes"] == []
    asked = {(each["who"], each["action"], each["what"]) for each in told["events"] if each["source"] == "airflow"}
    assert (login[1], "backfilled", "late") in asked
    assert not {verb for _, verb, _ in asked} & {*BY_ITSELF}
