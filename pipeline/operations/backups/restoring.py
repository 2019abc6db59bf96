"""Put a backup in place of a state: every byte is checked beforehand, and the old state is moved, not deleted."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.delivery.platforms.local.deployments import Deployment, deploy, deployments
from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.home import WORK_LOCK, lock_work, prepare_home
from pipeline.operations.backups.archives import unpack
from pipeline.operations.backups.contents import find_files, is_repository
from pipeline.operations.backups.scratch_folder import scratch_folder
from pipeline.orchestration.services import running

_CARRIED = ("cache", "repositories")
"""What a restore leaves as it is: it is expensive to make again, and never wrong."""
_ARTIFACT_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("logged_models", "artifact_location"),
)
"""Where MLflow's database names absolute places."""


@dataclass(frozen=True)
class Restored:
    """A state that was restored.

    Attributes
    ----------
    made, modelrail : str
        When the backup was made, and by which version.
    before : str or None
        Where the state is that was there before.
    live : tuple of Deployment
        What was made live again.
    failed : tuple of str
        What could not be, and why.
    outside : tuple of str
        What the backup does not hold.
    """

    home: str
    made: str
    modelrail: str
    before: str | None
    live: tuple[Deployment, ...]
    failed: tuple[str, ...]
    outside: tuple[str, ...]


def restore(file: Path, state: Path, *, replace: bool = False) -> Restored:
    """Put a backup in place of the state, and make live again what was.

    Parameters
    ----------
    replace : bool
        Move an existing state away; otherwise an existing state is refused.

    Raises
    ------
    InputError
        If the backup is not whole, a state is there, or something of it runs.
    """
    state = state.resolve()
    state.parent.mkdir(parents=True, exist_ok=True)
    with _alone(state.parent), _without_runs(state):
        _check_home(state, replace=replace)
        with scratch_folder(state.parent, f".{state.name.lstrip('.')}.restoring-") as folder:
            prepare_home(folder)  # else Git would take it for part of the project
            fresh = folder / "home"
            prepare_home(fresh)
            facts = unpack(file, fresh)
            _tighten(fresh)
            _relocate(fresh, str(facts.get("home")), str(state))
            before = _swap(state, fresh)
    live, failed = _make_live(state, facts.get("live", ()))
    return Restored(
        home=str(state),
        made=str(facts.get("made")),
        modelrail=str(facts.get("modelrail")),
        before=str(before) if before else None,
        live=live,
        failed=failed,
        outside=tuple(facts.get("outside", ())),
    )


def _check_home(state: Path, *, replace: bool) -> None:
    if services := running(state):
        raise InputError(f"{state}: found Airflow at {services.airflow_url}; expected nothing to run: 'modelrail down'")
    if live := [each.model for each in deployments(state)]:
        raise InputError(f"{state}: found {', '.join(live)} live; expected nothing to run: 'modelrail down' first")
    if not replace and any(find_files(state)):
        raise InputError(f"{state}: found a state; expected none: --replace moves it aside, and deletes nothing")


def _tighten(fresh: Path) -> None:
    """Close Airflow's folder to others, as `modelrail up` does: it holds the login."""
    with suppress(FileNotFoundError):
        (fresh / "airflow").chmod(0o700)


def _relocate(fresh: Path, old: str, new: str) -> None:
    """Rewrite the absolute paths in MLflow's database and Airflow's settings, if the state is elsewhere now."""
    if old == new:
        return
    settings = fresh / "airflow" / "airflow.cfg"
    if settings.exists():
        settings.write_text(settings.read_text("utf-8").replace(f"{old}/", f"{new}/"), "utf-8")
    if not (database := fresh / "mlflow.db").exists():
        return
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in _ARTIFACT_PLACES:
            known = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
            if column in known:
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608 - our own names
                connection.execute(change, (f"{old}/", f"{new}/"))


def _swap(state: Path, fresh: Path) -> Path | None:
    """Move the old state away and put the fresh one in its place; return where the old one is now."""
    before = None
    try:
        if state.exists():
            before = _name_before(state)
            prepare_home(state)
            state.rename(before)
        fresh.rename(state)
    except OSError as error:
        if before and before.exists() and not state.exists():
            before.rename(state)
        raise ModelrailError(
            f"{state}: found that it cannot be renamed ({error.strerror}); expected a folder that is no mounted disk"
            " itself (MODELRAIL_HOME), and nothing that writes to it"
        ) from error
    if before:
        _carry_over(before, state)
    return before


def _name_before(state: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    names = (state.with_name(f"{state.name}.before-{stamp}{suffix}") for suffix in ("", f"-{uuid.uuid4().hex[:6]}"))
    return next(each for each in names if not each.exists())


def _carry_over(before: Path, state: Path) -> None:
    for each in before.iterdir():
        if (each.name in _CARRIED or is_repository(each)) and not (state / each.name).exists():
            each.rename(state / each.name)


def _make_live(state: Path, wanted: Any) -> tuple[tuple[Deployment, ...], tuple[str, ...]]:
    live, failed = [], []
    for each in wanted:
        try:
            made = deploy(
                state / each["bundle"], model=each["name"], port=each["port"], state=state, workers=each["workers"]
            )
            live.append(made)
        except ModelrailError as error:
            failed.append(f"{each['name']}: {error}")
    return tuple(live), tuple(failed)


@contextmanager
def _without_runs(state: Path) -> Iterator[None]:
    """Refuse while a run works with the state, and let none begin."""
    if not state.is_dir():
        yield
        return
    descriptor = os.open(state / WORK_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lock_work(descriptor, state, fcntl.LOCK_EX, "a run ('modelrail run', or a task of Airflow)")
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one restore at a time work in a folder; the folder itself is locked, so no file is left behind."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _take(folder, descriptor)
        yield
    finally:
        os.close(descriptor)


def _take(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TransientError(f"{folder}: found another restore at work; expected none: wait for its end") from error
