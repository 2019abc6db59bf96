"""Where Modelrail itself is on this machine, and where it keeps its state."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import InputError, TransientError

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parent
"""The clone of Modelrail's repository that this code runs from; where it is installed, the folder of packages."""
WORK_LOCK = "work.lock"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def home(inside: Path | None = None) -> Path:
    """Return the folder of all local state: ``MODELRAIL_HOME``, else ``.modelrail`` at the Git root.

    Parameters
    ----------
    inside : Path, optional
        A file or folder of the project; by default the current folder.
    """
    if configured := os.environ.get("MODELRAIL_HOME"):
        return Path(configured).expanduser().resolve()
    return (_git_root(inside or Path.cwd()) or Path.cwd()) / ".modelrail"


def repository_path(file: str | Path) -> str:
    """Write a file's path as its Git repository has it, whatever the current folder; of a file outside, as it is."""
    root = _git_root(Path.cwd())
    place = Path(file).absolute()
    return place.relative_to(root).as_posix() if root and place.is_relative_to(root) else Path(file).as_posix()


def refuse_links(file: Path) -> None:
    """Refuse to write a file of the repository through a link, since a commit can hold one that leads anywhere.

    Raises
    ------
    InputError
        The file, or a folder between it and the repository's root, is a link.
    """
    root, place = _git_root(Path.cwd()), file.absolute()
    inside = [each for each in (place, *place.parents) if root and root in each.parents]
    link = next((each for each in inside if each.is_symlink()), None)
    if link and root:
        raise InputError(
            f"{link.relative_to(root)}: found a link; expected none, since it may lead out of the repository: remove it"
        )


def _git_root(inside: Path) -> Path | None:
    start = inside.resolve()
    return next((each for each in (start, *start.parents) if (each / ".git").exists()), None)


def prepare_home(state: Path) -> None:
    """Make the folder for its owner alone, since data and logins are in it, and make Git ignore it."""
    ignore = state / ".gitignore"
    if not ignore.exists():
        state.mkdir(parents=True, exist_ok=True)
        ignore.write_text("*\n")
    if state.stat().st_mode & _OTHERS:
        with suppress(PermissionError):  # somebody else's: it is theirs to say who may read it
            state.chmod(stat.S_IRWXU)


@contextmanager
def working(state: Path) -> Iterator[None]:
    """Mark the state as in use while a run works with it; the kernel removes the mark when the process ends.

    Raises
    ------
    TransientError
        If the state is being replaced.
    """
    prepare_home(state)
    descriptor = os.open(state / WORK_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        lock_work(descriptor, state, fcntl.LOCK_SH, "a restore")
        yield
    finally:
        os.close(descriptor)


def lock_work(descriptor: int, state: Path, kind: int, other: str) -> None:
    """Take the lock of a state: runs share it, a restore holds it alone; refuse if the other has it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TransientError(
            f"{state}: found {other} at work; expected none: wait for its end, and try again"
        ) from error


def store_address(state: Path) -> str:
    """Return the artifact store's address: ``MODELRAIL_STORE``, else a folder in ``state``."""
    return os.environ.get("MODELRAIL_STORE") or str(state / "store")


def tracking_address(state: Path) -> str:
    """Return MLflow's tracking address: ``MLFLOW_TRACKING_URI``, else a SQLite file in ``state``."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{state / 'mlflow.db'}"
