"""Logs in OpenSearch: what each shipper is told, and a line from its file to a query.

The last tests need a real OpenSearch, which ``MODELRAIL_TEST_OPENSEARCH`` names; its data stream of logs is made anew.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from pipeline.errors import InputError
from pipeline.monitoring.log_index import INDEX, for_opensearch, saved_objects
from pipeline.monitoring.log_shippers import SHIPPERS, Shipping, to_fluent_bit, to_rsyslog
from pipeline.serving.observing.logs import Log, event
from tests.monitoring.stack import until
from tests.monitoring.test_rendering import LINE

PAGE = Path(__file__).parents[2] / "docs/logs.md"
OPENSEARCH = os.environ.get("MODELRAIL_TEST_OPENSEARCH", "")
RSYSLOG = shutil.which("rsyslogd", path=f"{os.environ['PATH']}:/usr/sbin")
needs_rsyslog = pytest.mark.skipif(RSYSLOG is None, reason="no rsyslog: 'apt install rsyslog rsyslog-elasticsearch'")
needs_opensearch = pytest.mark.skipif(not OPENSEARCH, reason="no OpenSearch: MODELRAIL_TEST_OPENSEARCH=http://...")
ID = "flight-delay@v1.0.0:4d9fdb77d05792f1142635b754d07f00"
FAILED = {
    "timestamp": "2026-11-30T17:48:12.185916Z", "level": "error", "event": "Task failed with exception",
    "logger": "task", "filename": "task_runner.py", "lineno": 7,
    "error_detail": [{"exc_type": "InputError", "exc_value": "flights.csv: found no rows", "frames": [{"lineno": 3}]}],
}  # fmt: skip
TASK = "airflow/logs/dag_id=flight-delay/run_id=manual__2026-11-30T17:48:11+00:00/task_id=clean/map_index=3"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Write a line of each kind."""
    state = tmp_path / "state"
    served, task, services = state / "deployments/flight-delay", state / TASK, state / "logs"
    for folder in (served, task, services):
        folder.mkdir(parents=True)
    (task / "attempt=2.log").write_text(json.dumps(FAILED) + "\n")
    (services / "mlflow.log").write_text("2026/11/30 17:48:04 INFO mlflow.store.db.utils: Updating database tables\n")

    async def answer() -> None:
        with (served / "server.log").open("wb", buffering=0) as file:
            log = Log(file.fileno())
            log.add(event("/api/predict", 200, "flight-delay", "1.0.0", "live"), ID, 0.0012, 3)
            log.flush()

    asyncio.run(answer())
    return state


def test_a_login_in_the_address_is_refused_since_it_would_stand_in_a_file(tmp_path: Path) -> None:
    for address in ("http://me:word@search:9200", "https://me@search"):
        with pytest.raises(InputError, match="found a login in it") as error:
            Shipping(address, tmp_path)
        assert "word" not in str(error.value)
    for address in ("search:9200", "ftp://search", "http://search/logs", ""):
        with pytest.raises(InputError, match="expected http://HOST:PORT"):
            Shipping(address, tmp_path)


@pytest.mark.parametrize("name", SHIPPERS)
def test_every_shipper_reads_the_same_files_and_sends_them_to_the_same_index(name: str, tmp_path: Path) -> None:
    text = SHIPPERS[name][1](Shipping("https://search.example", tmp_path, [("risk", "prod")]))
    paths = [f"{tmp_path}/{each}" for each in ("deployments/*/server.log", "logs/mlflow.log")]
    for expected in (*paths, "/task_id=*/attempt=*.log", "/task_id=*/map_index=*/attempt=*.log"):
        assert expected in text
    assert text.count("/var/log/containers/risk-*_prod_server-*.log") == 1
    assert "search.example" in text
    assert INDEX in text
    assert text.count("modelrail.serving") == 2


def test_fluent_bit_asks_by_tls_at_the_port_of_the_scheme(tmp_path: Path) -> None:
    (settings,) = YAML(typ="safe").load_all(to_fluent_bit(Shipping("https://search.example", tmp_path)))
    (output,) = settings["pipeline"]["outputs"]
    assert (output["host"], output["port"], output["tls"]) == ("search.example", 443, True)


def test_what_a_dashboard_shows_is_in_the_same_file() -> None:
    objects = list(saved_objects())
    known = {(each["type"], each["id"]) for each in objects}
    assert {(to["type"], to["id"]) for each in objects for to in each["references"]} == known - {
        ("dashboard", "modelrail")
    }


def configuration(state: Path, folder: Path) -> Path:
    """Write what is rendered, with the folder that the main file would name."""
    (folder / "work").mkdir()
    written = folder / "rsyslog.conf"
    rendered = to_rsyslog(Shipping(OPENSEARCH or "http://127.0.0.1:9200", state))
    written.write_text(f'global(workDirectory="{folder}/work")\n{rendered}')
    return written


@needs_rsyslog
def test_rsyslog_accepts_what_is_rendered(tmp_path: Path) -> None:
    command = [str(RSYSLOG), "-N1", "-f", str(configuration(tmp_path, tmp_path))]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert "error" not in said.lower()


@pytest.fixture
def shipped(state: Path, tmp_path: Path) -> Iterator[Path]:
    """Tell OpenSearch what becomes of the lines, and let rsyslog send them."""
    httpx.delete(f"{OPENSEARCH}/_data_stream/{INDEX}")
    tell_opensearch(tmp_path / "project")
    written = configuration(state, tmp_path)
    command = [str(RSYSLOG), "-n", "-f", str(written), "-i", str(tmp_path / "pid")]
    with subprocess.Popen(command) as process:
        until(lambda: len(search({"match_all": {}})) == 3, "three lines in OpenSearch")
        yield state
        process.terminate()


def tell_opensearch(project: Path) -> None:
    """Do as the page says; the life-cycle policy is refused where its plugin is missing."""
    (project / "models").mkdir(parents=True)
    (project / "models/risk.yaml").write_text(LINE % "risk")
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    subprocess.run(["bash", "-c", shown("--request PUT")], cwd=project, env=_told(PATH=commands), check=False)
    for path, _ in for_opensearch():
        if not path.startswith("_plugins"):
            httpx.get(f"{OPENSEARCH}/{path}").raise_for_status()


def shown(part: str) -> str:
    """Return the block of the page that holds something."""
    (found,) = (each for each in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL) if part in each)
    return str(found)


def _told(**more: str) -> dict[str, str]:
    return os.environ | {"OPENSEARCH": OPENSEARCH, **more}


def search(query: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    httpx.post(f"{OPENSEARCH}/{INDEX}/_refresh")
    answer = httpx.post(f"{OPENSEARCH}/{INDEX}/_search", json={"query": query, **more})
    found: list[dict[str, Any]] = answer.json()["hits"]["hits"] if answer.status_code == 200 else []
    return found


def lines(field: str, value: str) -> list[dict[str, Any]]:
    return [each["_source"] for each in search({"term": {field: value}})]


@needs_rsyslog
@needs_opensearch
def test_a_line_is_found_by_its_prediction_id_its_task_and_its_logger(shipped: Path) -> None:
    asked = subprocess.run(["bash", "-c", shown("q=http")], env=_told(ID=ID), check=True, capture_output=True)
    (answered,) = (each["_source"] for each in json.loads(asked.stdout)["hits"]["hits"])
    assert (answered["service.name"], answered["event.duration"], answered["modelrail.rows"]) == (
        "flight-delay", 1_200_000, 3,
    )  # fmt: skip
    (failed,) = lines("airflow.task_id", "clean")
    assert failed["airflow"] == {
        "dag_id": "flight-delay", "run_id": "manual__2026-11-30T17:48:11+00:00", "task_id": "clean",
        "map_index": 3, "try_number": 2,
    }  # fmt: skip
    assert failed["error"] == {"type": "InputError", "message": "flights.csv: found no rows"}
    assert (failed["@timestamp"], failed["log"]["level"]) == (FAILED["timestamp"], "error")
    (told,) = lines("log.logger", "mlflow.store.db.utils")
    assert (told["@timestamp"], told["message"]) == ("2026-11-30T17:48:04.000Z", "Updating database tables")
    check_panels()
    with (shipped / "deployments/flight-delay/server.log").open("a") as file:
        file.write("not JSON\n")
    until(lambda: search({"match": {"message": "not JSON"}}), "a line that cannot be read, as it is")


def check_panels() -> None:
    """Compute what each chart of the dashboard shows; each must have something to show."""
    charts = [each for each in saved_objects() if each["type"] == "visualization"]
    for chart in charts:
        state = json.loads(chart["attributes"]["visState"])
        source = json.loads(chart["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
        query = {"query_string": {"query": source["query"]["query"].replace(" : ", ":").replace(" or ", " OR ")}}
        fields = [each["params"]["field"] for each in state["aggs"] if each["type"] == "terms"]
        assert search({"bool": {"must": [query, *({"exists": {"field": field}} for field in fields)]}}), chart
