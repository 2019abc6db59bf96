from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.errors import InputError, ModelrailError
from pipeline.orchestration.services import Airflow, Services, down, find_dead, follow, processes, running, settings, up
from pipeline.orchestration.services.rest_client import _run as name_run
from pipeline.orchestration.services.starting import wait_for_mlflow
from tests.databases import Databases

pytestmark = [pytest.mark.airflow, pytest.mark.filterwarnings("ignore:subprocess .* is still running")]

SPEC = """\
model: {name: late, trainer: logistic_regression, target: late}
data:
  files: data/{month}.csv
  columns: {number: int, distance: float, delay: float}
  derive: {late: delay > 15}
  key: [number]
features: {select: [distance]}
evaluate: {metrics: [accuracy], gate: {accuracy: {at_least: 0.5}}}
deploy: {port: 0}
"""


def make_project(folder: Path) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "models" / "late.yaml").write_text(SPEC)
    for month in (1, 2):
        rows = (f"{month * 1000 + row},{row * 7 % 100},{row * 7 % 100 - 40 + row % 3}" for row in range(200))
        (folder / "data" / f"2013-{month:02d}.csv").write_text("\n".join(["number,distance,delay", *rows]) + "\n")
    git = ["git", "-C", str(folder), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "config", "user.name", "Test"], check=True)
    subprocess.run([*git, "config", "user.email", "test@example.org"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "data"], check=True)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("standalone") / "project")


@pytest.fixture(scope="module")
def services(project: Path, databases: Databases) -> Iterator[Services]:
    state = project / ".modelrail"
    databases.copy_mlflow(state / "mlflow.db")
    databases.copy_airflow(state)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))]:
            patch.delenv(name)
        try:
            yield up(state, project / "models", airflow_port=18081, mlflow_port=15000)
        finally:
            down(state)
    assert processes.find_by_variable(settings.MARKER, str(state)) == []


@pytest.fixture(scope="module")
def airflow(services: Services) -> Iterator[Airflow]:
    with Airflow(services.airflow_url, services.login.user, services.login.password) as client:
        yield client


def list_ours(state: Path) -> list[psutil.Process]:
    return processes.find_by_variable(settings.MARKER, str(state))


def test_a_second_up_finds_the_first(project: Path, services: Services) -> None:
    again = up(project / ".modelrail", project / "models")
    assert again.reused
    assert again.airflow_url == services.airflow_url
    assert find_dead(services) == ()
    assert running(project / ".modelrail") is not None


def test_nothing_listens_beyond_loopback(project: Path, services: Services) -> None:
    assert wait_for_mlflow(services)
    listeners = [
        connection.laddr.ip
        for process in list_ours(project / ".modelrail")
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listeners) == {"127.0.0.1"}


def test_nobody_gets_in_without_the_login(services: Services) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{services.airflow_url}/api/v2/dags")  # noqa: S310
    with (
        Airflow(services.airflow_url, services.login.user, "guessed") as guest,
        pytest.raises(InputError, match="the login of admin is refused"),
    ):
        guest.read_run("late", "any")


def test_a_param_that_the_form_would_refuse_is_refused(airflow: Airflow) -> None:
    with pytest.raises(InputError, match="environment"):
        airflow.trigger("late", {"environment": "nowhere"})


def test_a_misspelt_param_fails_in_the_plan_with_what_was_expected(airflow: Airflow) -> None:
    outcome = follow(airflow, "late", airflow.trigger("late", {"data_comit": "HEAD"}), Console(quiet=True))
    assert not outcome.succeeded
    assert [failure.task for failure in outcome.failures] == ["plan"]
    assert outcome.failures[0].message.startswith("the run's conf: found 'data_comit'; expected only 'data_commit'")
    assert {step.state for step in outcome.steps[1:]} == {"not run"}


def test_a_new_spec_is_seen_at_once_and_a_broken_one_says_why(project: Path, airflow: Airflow) -> None:
    (project / "models" / "odd.yaml").write_text("model: {name: odd, trainerr: x}\n")
    try:
        with pytest.raises(InputError, match=r"the spec of odd is broken: .*odd\.yaml:1"):
            airflow.trigger("odd", {})
    finally:
        (project / "models" / "odd.yaml").unlink()


def test_the_audit_has_what_airflows_users_did(
    project: Path, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = datetime.now(UTC)
    for paused in (True, False):
        airflow.request("PATCH", "/api/v2/dags/late", json={"is_paused": paused})
    monkeypatch.chdir(project)
    done = CliRunner().invoke(app, ["audit", "--since", began.isoformat(), "--json"])
    told = [each for each in json.loads(done.stdout)["events"] if each["source"] == "airflow"]
    assert [(each["who"], each["action"], each["what"]) for each in told] == [("admin", "patch_dag", "late")] * 2


def test_a_run_goes_through_the_scheduler_and_the_next_one_reuses_it(airflow: Airflow) -> None:
    run = airflow.trigger("late", {"reason": "a test"})
    first = follow(airflow, "late", run, Console(quiet=True))
    assert first.failures == ()
    assert first.released
    assert [step.state for step in first.steps] == ["done"] * len(first.steps)
    assert all(len(json.dumps(result)) < 8192 for result in first.results.values())
    links = airflow.request("GET", f"{name_run('late', run)}/taskInstances/train/links")["extra_links"]
    page = r"http://127\.0\.0\.1:15000/#/experiments/\d+/runs/[0-9a-f]{32}\?workflowType=machine_learning"
    assert re.fullmatch(page, links["MLflow run"])
    second = follow(airflow, "late", airflow.trigger("late", {}), Console(quiet=True))
    assert second.failures == ()
    assert {step.step: step.state for step in second.steps}["clean"] == "reused"
    assert {step.step: step.state for step in second.steps}["train"] == "reused"


def test_airflow_imports_every_file_of_the_dags(airflow: Airflow) -> None:
    assert airflow.request("GET", "/api/v2/importErrors")["import_errors"] == []


def test_a_run_says_what_it_waits_for_and_goes_on_when_that_is_given_up(airflow: Airflow) -> None:
    airflow.request("PATCH", "/api/v2/pools/default_pool", json={"slots": 0}, params={"update_mask": "slots"})
    first = airflow.trigger("late", {})
    while first not in airflow.find_going("late"):
        psutil.Process().children()
    second = airflow.trigger("late", {})
    said = io.StringIO()

    def give_up_when_told() -> None:
        while "Waiting for" not in said.getvalue():
            psutil.Process().children()
        airflow.give_up("late", first, "a test")
        airflow.request("PATCH", "/api/v2/pools/default_pool", json={"slots": 4}, params={"update_mask": "slots"})

    with ThreadPoolExecutor() as pool:
        done = pool.submit(give_up_when_told)
        outcome = follow(airflow, "late", second, Console(file=said, width=200))
        done.result()
    assert f"Waiting for {first}, which goes on" in said.getvalue()
    assert outcome.succeeded
    assert {task.state for task in airflow.list_tasks("late", first) if task.task_id != "close"} == {"skipped"}
    assert airflow.read_run("late", first)["note"] == "a test"


def test_a_starter_that_is_killed_leaves_nothing_that_down_does_not_find(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (tmp_path / "models").mkdir()
    script = (
        "import sys; from pathlib import Path; from pipeline.orchestration.services import up; "
        "up(Path(sys.argv[1]), Path(sys.argv[2]), airflow_port=18181, mlflow_port=15100)"
    )
    with subprocess.Popen([sys.executable, "-c", script, state, tmp_path / "models"]) as starter:
        deadline = time.monotonic() + 120
        while len(list_ours(state)) < 3 and time.monotonic() < deadline:
            psutil.wait_procs([psutil.Process(starter.pid)], timeout=0.1)
        starter.send_signal(signal.SIGKILL)
    assert len(list_ours(state)) >= 3
    assert down(state) >= 3
    assert list_ours(state) == []
    assert running(state) is None
    assert down(state) == 0


def test_a_failed_start_shows_the_log_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "state" / "airflow").mkdir(parents=True)
    (tmp_path / "state" / "airflow" / "airflow.cfg").write_text("this is no configuration\n")
    with pytest.raises(ModelrailError, match=r"(?s)could not be made.*MissingSectionHeaderError.*Mend what it says"):
        up(tmp_path / "state", tmp_path / "models")
    assert list_ours(tmp_path / "state") == []


def test_up_names_the_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no folder .*models; expected the specs there"):
        up(tmp_path / "state", tmp_path / "models")


def test_the_record_tells_when_the_services_were_started(services: Services) -> None:
    assert services.started < datetime.now(services.started.tzinfo)
    assert {service.name for service in services.services} == {
        *("airflow-api-server", "airflow-scheduler", "airflow-dag-processor", "mlflow")
    }
