"""Start Airflow's parts and MLflow's UI, and wait until they are healthy."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.errors import ModelrailError
from pipeline.home import tracking_address
from pipeline.orchestration.data_commits.sources import find_watched
from pipeline.orchestration.services import processes, settings
from pipeline.orchestration.services.ports import LOOPBACK, choose_port
from pipeline.orchestration.services.process_records import Record, Service, Services, write_record
from pipeline.spec.placement import may_use_pods

_START_TIMEOUT_S = 180
_AIRFLOW_PARTS = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor")
TRIGGERER = "airflow-triggerer"
"""Watches the data repositories; started at a low priority, and only where a spec asks for it."""


def start(state: Path, project: Path, models: Path, usual_ports: tuple[int, int], say: Callable[[str], None]) -> Record:
    """Start every part, keeping a record of each as soon as it runs."""
    airflow_port = choose_port(usual_ports[0])
    places = settings.Places(state, project, models, airflow_port, choose_port(usual_ports[1], {airflow_port}))
    settings.prepare_airflow_home(places.airflow_home)
    environment = settings.make_environment(places)
    _migrate(places, environment, say)
    remote = tracking_address(state) if tracking_address(state).startswith("http") else None
    record = Record(
        places.airflow_url, remote or places.mlflow_url, datetime.now(UTC).isoformat(), str(models), str(project), ()
    )
    say(f"Starting Airflow on {record.airflow_url}")
    for name, argv in _make_commands(places, with_mlflow=remote is None).items():
        log = state / "logs" / f"{name}.log"
        pid = processes.start(argv, environment, log, state, niceness=0 if name in _AIRFLOW_PARTS else 10)
        service = Service(name, pid, processes.identify(pid) or time.time(), str(log))
        record = Record(**vars(record) | {"services": (*record.services, service)})
        write_record(state, record)
    return record


def _make_commands(places: settings.Places, *, with_mlflow: bool) -> Mapping[str, list[str]]:
    python = [sys.executable, "-m"]
    commands = {
        "airflow-api-server": [*python, "airflow", "api-server"],
        "airflow-scheduler": [*python, "airflow", "scheduler", "--skip-serve-logs"],
        "airflow-dag-processor": [*python, "airflow", "dag-processor"],
    }
    if needs_triggerer(places.models):
        commands[TRIGGERER] = [*python, "airflow", "triggerer", "--skip-serve-logs"]
    mlflow = [*python, "mlflow", "server", "--host", LOOPBACK, "--port", str(places.mlflow_port), "--workers", "1"]
    return commands | ({"mlflow": mlflow} if with_mlflow else {})


def needs_triggerer(models: Path) -> bool:
    """Tell whether a spec watches its data or has steps in pods; nothing else needs a triggerer."""
    return bool(find_watched(models)) or may_use_pods(models)


def _migrate(places: settings.Places, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Make or upgrade Airflow's database, once for each version of Airflow."""
    stamp, version = places.airflow_home / "migrated", metadata.version("apache-airflow-core")
    database = places.airflow_home / "airflow.db"
    if database.exists() and stamp.exists() and stamp.read_text() == version:
        return
    say("Making Airflow's database")
    log = places.state / "logs" / "airflow-migrate.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env=dict(environment), cwd=places.state, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    if done.returncode:
        raise ModelrailError(
            f"up: Airflow's database could not be made in {database}; {_last_lines(log)}\n"
            f"Mend what it says, or remove {places.airflow_home} to begin anew (its run history is lost)"
        )
    stamp.write_text(version)


def wait_for_airflow(record: Record) -> None:
    """Wait until the API server answers, and scheduler and DAG processor have reported since they were started."""
    for _ in _poll(time.monotonic() + _START_TIMEOUT_S):
        if is_healthy(record):
            return
        for service in record.services:
            if service.name in _AIRFLOW_PARTS and not service.is_alive():
                raise ModelrailError(f"up: {service.name} has ended; {_last_lines(Path(service.log))}")
    raise ModelrailError(
        f"up: Airflow was not ready after {_START_TIMEOUT_S} s; {_last_lines(Path(record.services[0].log))}\n"
        f"All logs are in {Path(record.services[0].log).parent}; `modelrail doctor` tells what this machine lacks"
    )


def wait_for_mlflow(services: Services, timeout_s: float = 60) -> bool:
    """Wait until MLflow's UI answers, at most `timeout_s` seconds; tell whether it does."""
    deadline = time.monotonic() + timeout_s
    mlflow = [service for service in services.services if service.name == "mlflow"]
    for _ in _poll(deadline):
        if _fetch(f"{services.mlflow_url}/health") is not None:
            return True
        if mlflow and not mlflow[0].is_alive():
            return False
    return False


def is_healthy(record: Record) -> bool:
    """Tell whether Airflow's parts answer, and have reported since they were started."""
    # the API that tasks report to is built at its first request, which takes seconds: better now than in the first task
    if _fetch(f"{record.airflow_url}/execution/health") is None:
        return False
    health = _fetch(f"{record.airflow_url}/api/v2/monitor/health")
    if health is None:
        return False
    beats = (health.get(part, {}).get(f"latest_{part}_heartbeat") for part in ("scheduler", "dag_processor"))
    started = datetime.fromisoformat(record.started)
    return all(beat and datetime.fromisoformat(beat) > started for beat in beats)


def _fetch(url: str) -> dict[str, Any] | None:
    """Fetch a loopback address's JSON answer ({} if it is no JSON object); None if there is no answer."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - always http on loopback
            content = answer.read()
    except (urllib.error.URLError, OSError):
        return None
    try:
        return dict(json.loads(content))
    except ValueError:
        return {}


def _poll(deadline: float) -> Iterator[None]:
    """Yield at once, then at growing intervals from 0.05 s to 0.5 s, until the deadline."""
    pause = 0.05
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
        pause = min(pause * 1.3, 0.5)


def _last_lines(log: Path, count: int = 15) -> str:
    lines = log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []
    return f"the last lines of {log}:\n" + "\n".join(f"    {line}" for line in lines)
