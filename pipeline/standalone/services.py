"""Bring Airflow and MLflow's UI up on this machine, and down again without a trace."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

import pipeline
from pipeline.data_commits.sources import find_watched
from pipeline.errors import InputError, ModelrailError
from pipeline.home import tracking_address
from pipeline.standalone import processes, settings
from pipeline.standalone.ports import LOOPBACK, choose_port

AIRFLOW_PORT, MLFLOW_PORT = 8081, 5000
"""Usual ports. Airflow's own default, 8080, is left to the model server, whose default it is as well."""

_START_TIMEOUT_S = 180
_AIRFLOW_PARTS = ("airflow-api-server", "airflow-scheduler", "airflow-dag-processor")
_TRIGGERER = "airflow-triggerer"
"""Watches the data repositories; started at a low priority, and only where a spec asks for it."""


@dataclass(frozen=True)
class Service:
    """A process that was started.

    Attributes
    ----------
    name : str
        Such as ``airflow-scheduler``.
    pid : int
        Its number, and that of its session.
    created : float
        When it started, in seconds since 1970.
    log : str
        File that its output goes to.
    """

    name: str
    pid: int
    created: float
    log: str

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        return processes.is_same(self.pid, self.created)


@dataclass(frozen=True)
class Login:
    """Who may use Airflow here."""

    user: str
    password: str


@dataclass(frozen=True)
class Services:
    """What is up.

    Attributes
    ----------
    airflow_url, mlflow_url : str
        Addresses, without a slash at the end.
    login : Login
        For Airflow's UI and REST API.
    started : datetime
        When the processes were started (UTC).
    reused : bool
        Whether they ran before this call.
    seconds : float
        How long the start took.
    services : tuple of Service
        The processes.
    """

    airflow_url: str
    mlflow_url: str
    login: Login
    started: datetime
    reused: bool
    seconds: float
    services: tuple[Service, ...]


@dataclass(frozen=True)
class _Record:
    """What is kept in ``services.json`` about what was started."""

    airflow_url: str
    mlflow_url: str
    started: str
    models: str
    project: str
    services: tuple[Service, ...]

    def describe(self, state: Path, *, reused: bool, seconds: float) -> Services:
        login = Login(settings.USER, settings.read_password(state / "airflow"))
        started = datetime.fromisoformat(self.started)
        return Services(self.airflow_url, self.mlflow_url, login, started, reused, seconds, self.services)


def up(
    state: Path,
    models: Path,
    *,
    project: Path | None = None,
    airflow_port: int = AIRFLOW_PORT,
    mlflow_port: int = MLFLOW_PORT,
    say: Callable[[str], None] = lambda _line: None,
) -> Services:
    """Start Airflow and MLflow's UI, or find them running, and wait until Airflow can run DAGs.

    MLflow's UI starts at a low priority beside it and may be ready later (``wait_for_mlflow``). Interrupted or failed,
    this stops what it has started.

    Parameters
    ----------
    state : Path
        Folder of all local state (``pipeline.home.home()``).
    models : Path
        Folder of the specs, of which each becomes a DAG.
    project : Path, optional
        Folder that holds ``dags/`` and ``plugins/``; by default the one that this package is installed from.
    airflow_port, mlflow_port : int
        Ports to use, or the next free ones above.
    say : callable
        Is told, in a line each, what happens.

    Raises
    ------
    InputError
        When Airflow is not installed or a folder is missing.
    ModelrailError
        When a part does not start; with the last lines of its log.
    """
    state, models = state.resolve(), models.resolve()
    project = (project or Path(pipeline.__file__).parents[1]).resolve()
    _check(project, models)
    begun = time.monotonic()
    with _locked(state):
        if (record := _read(state)) and _is_usable(record, project, models):
            return record.describe(state, reused=True, seconds=time.monotonic() - begun)
        if record:
            say("Stopping what an earlier start has left or was started for other folders")
            _stop_services(record)
        try:
            record = _start(state, project, models, (airflow_port, mlflow_port), say)
            _wait_for_airflow(record)
        except BaseException:
            _stop_everything(state)
            raise
        return record.describe(state, reused=False, seconds=time.monotonic() - begun)


def down(state: Path, spare: Collection[int] = ()) -> int:
    """Stop all that ``up`` has started, and all that those processes have started in turn.

    It also finds what a starter that was killed has left. The model servers that a DAG has deployed are among it.

    Parameters
    ----------
    state : Path
        Folder of all local state.
    spare : collection of int
        Processes that go on, with all of their sessions: deployments that were live before.

    Returns
    -------
    int
        How many processes were stopped.
    """
    state = state.resolve()
    if not state.exists():
        return 0
    with _locked(state):
        return _stop_everything(state, spare)


def running(state: Path) -> Services | None:
    """Give what is up, or None when nothing is or a part has ended."""
    record = _read(state.resolve())
    if record is None or not all(service.is_alive() for service in record.services):
        return None
    return record.describe(state.resolve(), reused=True, seconds=0)


def find_dead(services: Services) -> tuple[Service, ...]:
    """Give the services that have ended."""
    return tuple(service for service in services.services if not service.is_alive())


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


def _check(project: Path, models: Path) -> None:
    for folder, what in ((project / "dags", "the project's DAGs"), (models, "the specs")):
        if not folder.is_dir():
            raise InputError(f"up: found no folder {folder}; expected {what} there")
    try:
        metadata.version("apache-airflow-core")
    except metadata.PackageNotFoundError as error:
        raise InputError(
            "up: found no Airflow in this environment; expected modelrail[airflow] installed (make setup)"
        ) from error


def _start(
    state: Path, project: Path, models: Path, usual_ports: tuple[int, int], say: Callable[[str], None]
) -> _Record:
    airflow_port = choose_port(usual_ports[0])
    places = settings.Places(state, project, models, airflow_port, choose_port(usual_ports[1], {airflow_port}))
    settings.prepare_airflow_home(places.airflow_home)
    environment = settings.make_environment(places)
    _migrate(places, environment, say)
    remote = tracking_address(state) if tracking_address(state).startswith("http") else None
    record = _Record(
        places.airflow_url, remote or places.mlflow_url, datetime.now(UTC).isoformat(), str(models), str(project), ()
    )
    say(f"Starting Airflow on {record.airflow_url}")
    for name, argv in _make_commands(places, with_mlflow=remote is None).items():
        log = state / "logs" / f"{name}.log"
        pid = processes.start(argv, environment, log, state, niceness=0 if name in _AIRFLOW_PARTS else 10)
        service = Service(name, pid, processes.identify(pid) or time.time(), str(log))
        record = _Record(**vars(record) | {"services": (*record.services, service)})
        _write(state, record)
    return record


def _make_commands(places: settings.Places, *, with_mlflow: bool) -> Mapping[str, list[str]]:
    python = [sys.executable, "-m"]
    commands = {
        "airflow-api-server": [*python, "airflow", "api-server"],
        "airflow-scheduler": [*python, "airflow", "scheduler", "--skip-serve-logs"],
        "airflow-dag-processor": [*python, "airflow", "dag-processor"],
    }
    if find_watched(places.models):  # nothing else needs it
        commands[_TRIGGERER] = [*python, "airflow", "triggerer", "--skip-serve-logs"]
    mlflow = [*python, "mlflow", "server", "--host", LOOPBACK, "--port", str(places.mlflow_port), "--workers", "1"]
    return commands | ({"mlflow": mlflow} if with_mlflow else {})


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


def _wait_for_airflow(record: _Record) -> None:
    """Wait until the API server answers, and scheduler and DAG processor have reported since they were started."""
    for _ in _poll(time.monotonic() + _START_TIMEOUT_S):
        if _is_healthy(record):
            return
        for service in record.services:
            if service.name in _AIRFLOW_PARTS and not service.is_alive():
                raise ModelrailError(f"up: {service.name} has ended; {_last_lines(Path(service.log))}")
    raise ModelrailError(
        f"up: Airflow was not ready after {_START_TIMEOUT_S} s; {_last_lines(Path(record.services[0].log))}\n"
        f"All logs are in {Path(record.services[0].log).parent}; `modelrail doctor` tells what this machine lacks"
    )


def _is_healthy(record: _Record) -> bool:
    # the API that tasks report to is built at its first request, which takes seconds: better now than in the first task
    if _fetch(f"{record.airflow_url}/execution/health") is None:
        return False
    health = _fetch(f"{record.airflow_url}/api/v2/monitor/health")
    if health is None:
        return False
    beats = (health.get(part, {}).get(f"latest_{part}_heartbeat") for part in ("scheduler", "dag_processor"))
    started = datetime.fromisoformat(record.started)
    return all(beat and datetime.fromisoformat(beat) > started for beat in beats)


def _is_usable(record: _Record, project: Path, models: Path) -> bool:
    same = (record.project, record.models) == (str(project), str(models))
    watches = any(service.name == _TRIGGERER for service in record.services)
    return (
        same
        and (watches or not find_watched(models))
        and all(service.is_alive() for service in record.services)
        and _is_healthy(record)
    )


def _fetch(url: str) -> dict[str, Any] | None:
    """Give a loopback address's JSON answer ({} where it is none); None when there is no answer."""
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
    """Yield at once and then ever less often, from 0.05 s to 0.5 s, until the deadline."""
    pause = 0.05
    while time.monotonic() < deadline:
        yield
        time.sleep(pause)
        pause = min(pause * 1.3, 0.5)


def _last_lines(log: Path, count: int = 15) -> str:
    lines = log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []
    return f"the last lines of {log}:\n" + "\n".join(f"    {line}" for line in lines)


def _stop_services(record: _Record) -> int:
    return processes.stop(lambda: _find_services(record))


def _find_services(record: _Record) -> list[psutil.Process]:
    # a number may belong to somebody else by now: a session counts only if its leader is ours or has ended
    ours = [each.pid for each in record.services if each.is_alive() or processes.identify(each.pid) is None]
    return processes.find_by_session(ours)


def _stop_everything(state: Path, spare: Collection[int] = ()) -> int:
    """Stop the services and whatever else carries their marker, all at once."""
    record = _read(state)

    def find() -> set[psutil.Process]:
        marked = processes.find_by_variable(settings.MARKER, str(state))
        return {*(_find_services(record) if record else ()), *processes.leave_out(marked, spare)}

    count = processes.stop(find)
    _file(state).unlink(missing_ok=True)
    return count


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Let one starter or stopper at a time work on this state."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "services.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _file(state: Path) -> Path:
    return state / "services.json"


def _read(state: Path) -> _Record | None:
    try:
        fields = json.loads(_file(state).read_text())
        return _Record(**fields | {"services": tuple(Service(**each) for each in fields["services"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _write(state: Path, record: _Record) -> None:
    scratch = _file(state).with_suffix(".new")
    scratch.write_text(json.dumps(asdict(record), indent=1))
    scratch.replace(_file(state))
