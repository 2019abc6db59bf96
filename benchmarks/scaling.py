"""Ten and a hundred times the rows: ``python -m benchmarks.scaling [--times 1 10 100] [--years-a-partition 1]``.

The flights of 2013 are repeated with other years, so that every row has a key of its own; each month stays a partition,
or several years of a month are put into one. ``modelrail step clean`` and ``modelrail step transform`` (which collects
the statistics) are measured, with the memory of all their processes. A hundred times the rows are 3.1 GB of CSV, and as
Git and the store hold them about 6 GB; 12 GB must be free in the folder for temporary files (``TMPDIR``). All of it is
removed at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.measuring import run, say_machine
from benchmarks.project import MODELRAIL, SPEC, call, make_flights, make_project, remove_project

YEAR = 2013
LIMIT_MB = 2 * 2**30 / 1e6
BYTES_A_TIME = 120_000_000  # Git's objects and the store, with something to spare


@dataclass(frozen=True)
class Figures:
    """What one size took."""

    times: int
    rows: int
    clean_s: float
    transform_s: float
    peak_mb: float

    @property
    def microseconds_a_row(self) -> float:
        """Wall time of both steps."""
        return 1e6 * (self.clean_s + self.transform_s) / self.rows


def make_repository(folder: Path, months: Sequence[Path], times: int, years_a_partition: int) -> None:
    """Write the partitions straight into Git's objects: no work tree, one partition in memory at a time."""
    call("git", "init", "--quiet", "--initial-branch", "main", folder)
    command = ["git", "-C", str(folder), "-c", "core.compression=1", "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as importer:
        assert importer.stdin is not None  # noqa: S101 - it was asked for
        importer.stdin.write(b"commit refs/heads/main\ncommitter B <b@localhost> 1700000000 +0000\ndata 0\n")
        for name, content in make_partitions(months, times, years_a_partition):
            importer.stdin.write(f"M 100644 inline flights/{name}.csv\ndata {len(content)}\n".encode())
            importer.stdin.write(content + b"\n")
    if importer.returncode:
        raise SystemExit("git fast-import failed")


def make_partitions(months: Sequence[Path], times: int, years_a_partition: int) -> Iterator[tuple[str, bytes]]:
    """Give name and content of each partition; the years go back from 2013."""
    for start in range(0, times, years_a_partition):
        years = [YEAR - each for each in range(start, min(start + years_a_partition, times))]
        for month in months:
            header, _, body = month.read_bytes().partition(b"\n")
            yield f"{years[0]}-{month.stem[-2:]}", header + b"".join(move(body, year) for year in years) + b"\n"


def move(body: bytes, year: int) -> bytes:
    """Give a month's lines, each begun by a line feed, in another year."""
    new, old = str(year).encode(), str(YEAR).encode()
    lines = b"\n" + body.rstrip(b"\n")
    return lines.replace(b"\n" + old + b",", b"\n" + new + b",").replace(b"," + old + b"-", b"," + new + b"-")


def measure(times: int, years_a_partition: int, flights: Path, scratch: Path) -> Figures:
    project = make_project(scratch / "project", None)
    months = sorted((flights / "flights").glob("*.csv"))
    make_repository(project / ".modelrail" / "flights", months, times, years_a_partition)
    clean, transform = (run((MODELRAIL, "step", each, SPEC), project, memory=True) for each in ("clean", "transform"))
    rows = int(json.loads(clean.output)["rows"])
    remove_project(project)
    return Figures(times, rows, clean.seconds, transform.seconds, max(clean.peak_mb, transform.peak_mb))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--years-a-partition", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "modelrail-benchmarks")
    given = parser.parse_args()
    flights = make_flights(given.cache)
    say_machine()
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        needed, free = max(given.times) * BYTES_A_TIME, shutil.disk_usage(scratch).free
        if free < needed:
            raise SystemExit(f"{scratch}: found {free / 1e9:.1f} GB free; expected {needed / 1e9:.1f} GB (TMPDIR)")
        print("\ntimes        rows   clean s  transform s   µs a row   peak MB (PSS, at most 2147)")
        for times in given.times:
            each = measure(times, given.years_a_partition, flights, Path(scratch))
            much = "  TOO MUCH" if each.peak_mb > LIMIT_MB else ""
            print(
                f"{each.times:5}  {each.rows:10,}  {each.clean_s:8.2f}  {each.transform_s:11.2f}"
                f"  {each.microseconds_a_row:9.2f}  {each.peak_mb:8.0f}{much}",
                flush=True,
            )
            found.append(each)
    for less, more in pairwise(found):
        ratio = more.microseconds_a_row / less.microseconds_a_row
        print(f"time a row, {more.times} times beside {less.times} times: {ratio:.2f} x (1 is linear)")


if __name__ == "__main__":
    main()
