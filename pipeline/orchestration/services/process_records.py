"""What was started on this machine, and the file that records it."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pipeline.orchestration.services import processes, settings


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
class Record:
    """What is kept in ``services.json`` about what was started."""

    airflow_url: str
    mlflow_url: str
    started: str
    models: str
    project: str
    services: tuple[Service, ...]

    def describe(self, state: Path, *, reused: bool, seconds: float) -> Services:
        """Tell what is up, with the login."""
        login = Login(settings.USER, settings.read_password(state / "airflow"))
        started = datetime.fromisoformat(self.started)
        return Services(self.airflow_url, self.mlflow_url, login, started, reused, seconds, self.services)


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """Let one starter or stopper at a time work on this state."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "services.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def record_file(state: Path) -> Path:
    """Return the file of the record."""
    return state / "services.json"


def read_record(state: Path) -> Record | None:
    """Read what was started; None when nothing was, or the file is damaged."""
    try:
        fields = json.loads(record_file(state).read_text())
        return Record(**fields | {"services": tuple(Service(**each) for each in fields["services"])})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def write_record(state: Path, record: Record) -> None:
    """Write the record in one step: a reader sees the old one or the new one."""
    scratch = record_file(state).with_suffix(".new")
    scratch.write_text(json.dumps(asdict(record), indent=1))
    scratch.replace(record_file(state))
