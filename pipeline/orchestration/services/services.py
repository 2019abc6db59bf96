"""Start Airflow and MLflow's UI on this machine, and stop them without leaving a process behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from importlib import metadata
from pathlib import Path

import psutil

from pipeline.errors import InputError
from pipeline.home import CHECKOUT
from pipeline.orchestration.services import processes, settings
from pipeline.orchestration.services.process_records import Record, Service, Services, locked, read_record, record_file
from pipeline.orchestration.services.starting import TRIGGERER, is_healthy, needs_triggerer, start, wait_for_airflow

AIRFLOW_PORT, MLFLOW_PORT = 8081, 5000
"""Usual ports. Airflow's own default, 8080, is left to the model server, whose default it is as well."""


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

    MLflow's UI starts meanwhile at a low priority and may be ready later (``wait_for_mlflow``). Interrupted or failed,
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
    project = (project or CHECKOUT).resolve()
    _check(project, models)
    begun = time.monotonic()
    with locked(state):
        if (record := read_record(state)) and _is_usable(record, project, models):
            return record.describe(state, reused=True, seconds=time.monotonic() - begun)
        if record:
            say("Stopping what an earlier start has left or was started for other folders")
            _stop_services(record)
        try:
            record = start(state, project, models, (airflow_port, mlflow_port), say)
            wait_for_airflow(record)
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
    with locked(state):
        return _stop_everything(state, spare)


def running(state: Path) -> Services | None:
    """Find what is up; None if nothing is, or a part has ended."""
    record = read_record(state.resolve())
    if record is None or not all(service.is_alive() for service in record.services):
        return None
    return record.describe(state.resolve(), reused=True, seconds=0)


def find_dead(services: Services) -> tuple[Service, ...]:
    """List the services that have ended."""
    return tuple(service for service in services.services if not service.is_alive())


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


def _is_usable(record: Record, project: Path, models: Path) -> bool:
    same = (record.project, record.models) == (str(project), str(models))
    watches = any(service.name == TRIGGERER for service in record.services)
    return (
        same
        and (watches or not needs_triggerer(models))
        and all(service.is_alive() for service in record.services)
        and is_healthy(record)
    )


def _stop_services(record: Record) -> int:
    return processes.stop(lambda: _find_services(record))


def _find_services(record: Record) -> list[psutil.Process]:
    # a number may belong to somebody else by now: a session counts only if its leader is ours or has ended
    ours = [each.pid for each in record.services if each.is_alive() or processes.identify(each.pid) is None]
    return processes.find_by_session(ours)


def _stop_everything(state: Path, spare: Collection[int] = ()) -> int:
    """Stop the services and whatever else carries their marker, all at once."""
    record = read_record(state)

    def find() -> set[psutil.Process]:
        marked = processes.find_by_variable(settings.MARKER, str(state))
        return {*(_find_services(record) if record else ()), *processes.leave_out(marked, spare)}

    count = processes.stop(find)
    record_file(state).unlink(missing_ok=True)
    return count
