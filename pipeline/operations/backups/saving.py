"""Write a backup.

Nothing has to be stopped: databases are copied by SQLite's own online backup, and artifacts never change.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.delivery.platforms.local.deployments import Deployment, deployments
from pipeline.delivery.platforms.local.state import DESIRED, folder_of, read_json
from pipeline.errors import InputError, ModelrailError
from pipeline.operations.backups.archives import pack
from pipeline.operations.backups.contents import find_files, find_links, find_outside
from pipeline.operations.backups.scratch_folder import scratch_folder


@dataclass(frozen=True)
class Backup:
    """A backup that was written.

    Attributes
    ----------
    file : str
    files, bytes : int
        How many are in it; its size.
    live : tuple of str
        Deployments that ran, which a restore makes live again.
    outside : tuple of str
        What is kept elsewhere, and so is not in it.
    """

    file: str
    files: int
    bytes: int
    live: tuple[str, ...]
    outside: tuple[str, ...]


def back_up(state: Path, file: Path) -> Backup:
    """Write everything that is not in Git into one file, which only this user can read.

    Raises
    ------
    InputError
        If there is nothing to back up, or the file cannot be a new one outside the state.
    """
    state, file = state.resolve(), file.absolute()
    _check_target(state, file)
    live, outside = deployments(state), (*find_outside(state), *find_links(state))
    facts = {
        "modelrail": metadata.version("modelrail"),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "home": str(state),
        "live": [entry for each in live if (entry := _describe(each, state))],
        "outside": outside,
    }
    with scratch_folder(file.parent, f".{file.name}.") as folder:
        count = pack(folder / "backup", facts, _read_all(state, folder))
        (folder / "backup").rename(file)
    return Backup(str(file), count, file.stat().st_size, tuple(each.model for each in live), outside)


def _check_target(state: Path, file: Path) -> None:
    if not any(find_files(state)):
        raise InputError(f"{state}: found no state; expected some: run this in the project, or set MODELRAIL_HOME")
    if state in file.resolve().parents:
        raise InputError(f"{file}: is in {state}, which it would be a backup of; expected a file elsewhere")
    if not file.parent.is_dir():
        raise InputError(f"{file}: found no folder {file.parent}; expected it")
    if file.exists() or file.is_symlink():
        raise InputError(f"{file}: found one already; expected a new name, for a backup is never overwritten")


def _read_all(state: Path, scratch: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file's name and where to read it; a file that refers to others comes before them.

    The marks of what MLflow was told come before MLflow's database, and that before the files that it names, for all
    of them may grow meanwhile.
    """
    for choose in (_is_mark, _is_database, _is_other):
        for path in find_files(state):
            name = path.relative_to(state).as_posix()
            if not choose(name, path):
                continue
            if choose is not _is_database:
                yield name, path
                continue
            copy = scratch / "database"
            _copy_database(path, copy)
            yield name, copy
            copy.unlink()


def _is_mark(name: str, path: Path) -> bool:
    del path
    return name.startswith("registered/")


def _is_database(name: str, path: Path) -> bool:
    if not name.endswith(".db") or _is_mark(name, path):
        return False
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def _is_other(name: str, path: Path) -> bool:
    return not _is_mark(name, path) and not _is_database(name, path)


def _copy_database(path: Path, copy: Path) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)  # at once: in parts it would begin anew with every write
            target.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise ModelrailError(
            f"{path}: copying it to {copy.parent.parent} failed ({error}); expected a whole database, and room there"
        ) from error
    shutil.copymode(path, copy)


def _describe(live: Deployment, state: Path) -> dict[str, Any] | None:
    """Say what is needed to make it live again; None if its bundle is not in the backup."""
    desired, bundle = read_json(folder_of(live.model, state) / DESIRED), Path(live.bundle)
    if not desired or not bundle.is_relative_to(state):
        return None
    return {
        "name": live.model,
        "bundle": bundle.relative_to(state).as_posix(),
        "port": desired["requested_port"],
        "workers": desired["workers"],
    }
