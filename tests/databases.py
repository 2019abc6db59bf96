"""Databases of MLflow and Airflow that are made once, and copied: making one costs seconds, a copy milliseconds."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.home import CHECKOUT, prepare_home
from pipeline.orchestration.services import settings, starting
from pipeline.runs.tracking.runs import open_client


@dataclass(frozen=True)
class Databases:
    """The templates of a session of tests; all of its workers share them."""

    folder: Path

    def copy_mlflow(self, target: Path) -> str:
        """Write a database that MLflow has made; returns its address.

        MLflow is imported, so that runs of this process record in it, which spares each of them three seconds.
        """
        import mlflow  # noqa: F401 - at collection it would slow down every other test

        prepare_home(target.parent)
        _copy(self._make("mlflow.db"), target)
        return f"sqlite:///{target}"

    def copy_airflow(self, state: Path) -> None:
        """Write a database that Airflow has migrated into a state folder, where `modelrail up` finds it."""
        source, home = self._make("airflow/airflow.db"), state / "airflow"
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        _copy(source, home / source.name)
        (home / "migrated").write_text(source.with_name("migrated").read_text())
        # Airflow's first process makes them, with the key that all read: of several at once, each would make its own
        config = source.with_name("airflow.cfg").read_text().replace(str(source.parent), str(home))
        (home / "airflow.cfg").write_text(config)
        (home / "airflow.cfg").chmod(0o600)

    def _make(self, name: str) -> Path:
        """Make a template unless another worker has."""
        self.folder.mkdir(exist_ok=True)
        path = self.folder / name
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (done := self.folder / f"{path.stem}.done").exists():
                make_airflow(self.folder) if path.stem == "airflow" else make_mlflow(path)
                done.touch()
        return path


def share(factory: pytest.TempPathFactory) -> Databases:
    """Return the templates of this session; each worker's own folder is in the session's."""
    own = factory.getbasetemp()
    return Databases((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "databases")


def make_mlflow(path: Path) -> None:
    """Let MLflow make its tables, as the first run does."""
    open_client(f"sqlite:///{path}").search_experiments()


def make_airflow(state: Path) -> None:
    """Let Airflow make its tables, as the first `modelrail up` does."""
    places = settings.Places(state, CHECKOUT, CHECKOUT / "models", 1, 1)  # no port is opened
    settings.prepare_airflow_home(places.airflow_home)
    starting._migrate(places, settings.make_environment(places), lambda _: None)


def _copy(source: Path, target: Path) -> None:
    """Copy a database by SQLite itself: parts of it may still be in a write-ahead log."""
    with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(target)) as copy:
        origin.backup(copy)
