"""The Git repository of an example: made whole or not at all, with the same commits on every machine."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pipeline.errors import InputError, ModelrailError
from pipeline.ui.examples.git import run_git

AUTHOR = "Modelrail example <example@localhost>"


@dataclass(frozen=True)
class Commit:
    """One commit that adds files.

    Attributes
    ----------
    date : datetime
        With a zone; both the author's and the committer's.
    files : dict of str to bytes
        Path → content.
    """

    message: str
    date: datetime
    files: dict[str, bytes]


def write_example(folder: Path, commits: Sequence[Commit]) -> None:
    """Make the repository, in place of what is there.

    Parameters
    ----------
    folder : Path
        New, empty, or found to be an earlier example (`is_complete`).
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "repository"
        _write(made, commits)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def is_complete(example: str, folder: Path, commits: int) -> bool:
    """Tell whether the folder holds that many of the example's commits already.

    Raises
    ------
    InputError
        The folder holds anything that was not made here.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    foreign = InputError(
        f"example {example}: found other files in {folder}; expected a new or empty folder, or an earlier example"
    )
    if not (folder / ".git").is_dir():
        raise foreign
    if not _holds_commits(folder):
        if any(entry.name != ".git" for entry in folder.iterdir()):
            raise foreign
        return False
    authors = run_git(folder, "log", "--first-parent", "--reverse", "--format=%an <%ae>").decode().splitlines()
    if authors[0] != AUTHOR:
        raise foreign
    if sum(author == AUTHOR for author in authors) >= commits:
        return True
    if set(authors) != {AUTHOR} or run_git(folder, "status", "--porcelain"):
        raise InputError(
            f"example {example}: found fewer than its {commits} commits and other changes in {folder}; "
            "expected a new folder, so that your changes are kept"
        )
    return False


def _holds_commits(folder: Path) -> bool:
    try:
        run_git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except ModelrailError:
        return False
    return True


def _write(folder: Path, commits: Sequence[Commit]) -> None:
    folder.mkdir()
    run_git(folder, "init", "--quiet", "--initial-branch=main", "--object-format=sha1", "--template=")
    commands = b"".join(part for commit in commits for part in _commands(commit))
    # compression and deltas only cost time here: the identifiers are those of the content
    run_git(folder, "-c", "pack.compression=1", "fast-import", "--quiet", "--depth=0", given=commands)
    run_git(folder, "reset", "--quiet", "--hard", "main")


def _commands(commit: Commit) -> Iterator[bytes]:
    """Write the commands that ``git fast-import`` turns into a commit."""
    who = f"{AUTHOR} {int(commit.date.timestamp())} +0000"
    message = f"{commit.message}\n".encode()
    yield f"commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata {len(message)}\n".encode() + message
    for path, content in commit.files.items():
        yield f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
