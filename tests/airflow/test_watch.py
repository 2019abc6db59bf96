"""With Airflow's own scheduler: what is live is looked at, and a look that finds something fails its task in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.interventions import interventions
from pipeline.delivery.platforms.local.deployments import live, stop_all
from pipeline.orchestration.services import Airflow, down, up
from pipeline.orchestration.services.rest_client import TaskInstance
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.storage.git.repository import open_repository
from tests.conftest import git
from tests.databases import Databases
from tests.monitoring.receivers import Received, mail_server, webhook
from tests.monitoring.stack import until
from tests.monitoring.test_watching import SPEC, ask, month, records, seconds

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore:subprocess .* is still running")]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Received, Received]]:
    """Yield a webhook and a mail server that Airflow has connections to."""
    with webhook() as hook, mail_server() as mail:
        host, _, rest = hook.address.removeprefix("http://").partition(":")
        port, _, path = rest.partition("/")
        on_call = {"conn_type": "http", "host": host, "port": int(port), "password": "t", "extra": {"path": f"/{path}"}}
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "rail@example.com"}
        port = mail.address.rpartition(":")[2]
        letters = {"conn_type": "smtp", "host": "127.0.0.1", "port": int(port), "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_ON_CALL", json.dumps(on_call))
        monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", json.dumps(letters))
        yield hook, mail


@pytest.fixture
def place(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: tuple[Received, Received]
) -> Iterator[tuple[str, Airflow]]:
    """Yield the address of a live model, and an Airflow that looks at it once a year, or when it is told to."""
    project, state = tmp_path / "project", tmp_path / "project" / ".modelrail"
    for path, text in {"models/late.yaml": SPEC, ".gitignore": ".modelrail/\n", "data/2013-01.csv": month(1)}.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    git(project, "init", "-q", "-b", "main")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "spec and data")
    databases.copy_mlflow(state / "mlflow.db")
    databases.copy_airflow(state)
    monkeypatch.setenv("MODELRAIL_WATCH", "0 0 1 1 *")
    monkeypatch.chdir(project)
    try:
        run(RunRequest("models/late.yaml"), lambda _: None)
        found = live("late", state)
        assert found is not None
        services = up(state, project / "models", airflow_port=18481, mlflow_port=15400)
        with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
            yield found.address, airflow
    finally:
        down(state)
        stop_all(state)


def look(airflow: Airflow) -> tuple[str, dict[str, Any], str]:
    """Have the DAG run; return the state of the look, what it has kept, and its error."""
    started = airflow.trigger("watch", {})
    (task,) = until(lambda: ended(airflow, started), "the end of the look", 120)
    kept = airflow.read_result("watch", started, task, "look")
    return task.state, kept, airflow.read_error("watch", started, task)


def ended(airflow: Airflow, run_id: str) -> list[TaskInstance]:
    """List the looks of a run that have ended."""
    tasks = airflow.list_tasks("watch", run_id)
    return [each for each in tasks if each.task_id == "look" and each.state in ("success", "failed")]


def test_a_look_that_finds_something_fails_its_task(place: tuple[str, Airflow]) -> None:
    address, airflow = place
    ask(address, records(7, 400))
    state, found, _ = look(airflow)
    assert (state, found["verdict"]) == ("success", "quiet")
    ask(address, seconds(records(8, 400)))
    state, found, error = look(airflow)
    assert (state, found["verdict"]) == ("failed", "drift")
    assert found["diagnosis"]["cause"] == "pipeline"
    assert "late v1.0.0 in local: what it is asked has moved" in error


ACTIONS = "actions: {pipeline: {do: hold, approve: true}, data: {do: retrain, cooldown_s: 0}}"


NOTIFY = "notify: {drift: [on_call], released: [ops@example.com], held: [on_call, ops@example.com], '*': [slack]}\n"


def test_a_person_is_asked_before_releases_are_held_and_a_retraining_is_a_run(
    place: tuple[str, Airflow], told: tuple[Received, Received]
) -> None:
    (address, airflow), (hook, mail) = place, told
    project = Path.cwd()
    text = SPEC.replace("{min_requests: 200}", f"{{min_requests: 200, {ACTIONS}}}")
    (project / "models/late.yaml").write_text(text + NOTIFY)
    (project / "data/2013-02.csv").write_text(month(2))
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "what is to be done, and newer data")
    ask(address, [each | {"delay": each["delay"] + 12} for each in records(9, 400)])
    _, found, error = look(airflow)
    assert found["diagnosis"]["cause"] == "data"
    assert "retrain: late#local#watch#1: run watch__late.local.watch.1" in error
    until(lambda: has_ended(airflow, "late", "watch__late.local.watch.1"), "the end of the run", 120)
    conf = airflow.read_run("late", "watch__late.local.watch.1")["conf"]
    assert conf["reason"].startswith("late#local#watch#1: data in 1 window")
    ask(address, seconds(records(8, 400)))
    _, _, error = look(airflow)
    assert "hold (pipeline) waits for a person's approval" in error
    (run_id,) = {word.rstrip(":") for word in error.split() if word.startswith("ask__late.local.hold.pipeline.")}
    task = f"/api/v2/dags/watch_approval/dagRuns/{run_id}/taskInstances/approval/-1/hitlDetails"
    asked = until(lambda: airflow.request("GET", task, missing={}), "the question", 60)
    assert asked["subject"] == "late in local: hold because of pipeline?"
    assert "another unit" in asked["body"]
    assert [each.deed for each in interventions(open_repository(project), "late", "local")] == ["retrain"]
    until(lambda: is_approved(airflow, task, run_id), "what was approved", 120)
    (act,) = [each for each in airflow.list_tasks("watch_approval", run_id) if each.task_id == "act"]
    assert act.state == "success", airflow.read_error("watch_approval", run_id, act)
    assert airflow.read_result("watch_approval", run_id, act) == ["hold: late#local#watch#2"]
    *_, held = interventions(open_repository(project), "late", "local")
    assert (held.deed, held.who) == ("hold", "admin")
    assert [each["happened"] for each in hook.documents] == ["drift", "held"]
    assert {each["authorization"] for each in hook.headers} == {"Bearer t"}
    assert hook.documents[1]["link"].endswith("/dags/late")
    subjects = [str(each["subject"]) for each in mail.mails]
    assert subjects[-1] == "[held] late: nothing new goes live in local"
    assert [each for each in subjects if "released" in each] == [
        "[released] late@v1.0.0 was released",
        "[released] late@v1.0.1 was released",
    ]


def is_approved(airflow: Airflow, task: str, run_id: str) -> bool:
    """Approve what is asked, also when it is asked again.

    An answer within a second may overtake Airflow's scheduler, which then takes the task for lost and tries it again.
    """
    asked = airflow.request("GET", task, missing={})
    if asked and not asked["response_received"]:
        airflow.request("PATCH", task, json={"chosen_options": ["Approve"], "params_input": {}})
    return has_ended(airflow, "watch_approval", run_id)


def has_ended(airflow: Airflow, dag_id: str, run_id: str) -> bool:
    return airflow.read_run(dag_id, run_id)["state"] in ("success", "failed")
