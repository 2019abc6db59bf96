"""Ten and a hundred times the rows: ``python -m benchmarks.scaling [--times 1 10 100] [--years-a-partition 1]``.

The flights of 2013 are repeated with other years, so that every row has a key of its own; each month stays a partition,
or several years of a month are put into one. ``modelrail step clean`` and ``modelrail step transform`` (which collects
the statistics) are measured, with the memory of all their processes; with ``--learn`` also ``normalize``, ``train`` and
``evaluate``, under no limit: the last two hold what they learn from and judge by. A hundred times the rows are 3.1 GB
of CSV, and as Git and the store hold them about 6 GB; 12 GB must be free in the folder for temporary files
(``TMPDIR``). All of it is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks.measuring import Run, run, say_machine
from benchmarks.project import MODELRAIL, SPEC, call, make_flights, make_project, remove_project

YEAR = 2013
LIMIT_MB = 2 * 2**30 / 1e6
MEASURED, LEARNING = ("clean", "transform"), ("normalize", "train", "evaluate")
BYTES_A_TIME = 120_000_000  # Git's objects and the store, with something to spare


@dataclass(frozen=True)
class Figures:
    """What the steps took at one size."""

    times: int
    rows: int
    steps: Mapping[str, Run]

    @property
    def microseconds_a_row(self) -> float:
        """Wall time of all steps."""
        return 1e6 * sum(each.seconds for each in self.steps.values()) / self.rows

    def say(self) -> None:
        """Print a line for each step."""
        for step, each in self.steps.items():
            much = "  TOO MUCH" if step in MEASURED and each.peak_mb > LIMIT_MB else ""
            print(
                f"{self.times:5}  {self.rows:10,}  {step:9}  {each.seconds:8.2f}  {each.cpu_s:8.2f}"
                f"  {1e6 * each.seconds / self.rows:8.2f}  {each.peak_mb:7.0f}{much}",
                flush=True,
            )


def make_repository(folder: Path, months: Sequence[Path], times: int, years_a_partition: int) -> None:
    """Write the partitions straight into Git's objects: no work tree, one partition in memory at a time."""
    call("git", "init", "--quiet", "--initial-branch", "main", folder)
    # No chains of differences: they would be as long as they may be, since these years differ in one number a row.
    command = ["git", "-C", str(folder), "-c", "core.compression=1", "fast-import", "--quiet", "--depth=0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as importer:
        assert importer.stdin is not None  # noqa: S101 - it was asked for
        importer.stdin.write(b"commit refs/heads/main\ncommitter B <b@localhost> 1700000000 +0000\ndata 0\n")
        for name, content in make_partitions(months, times, years_a_partition):
            importer.stdin.write(f"M 100644 inline flights/{name}.csv\ndata {len(content)}\n".encode())
            importer.stdin.write(content + b"\n")
    if importer.returncode:
        raise SystemExit("git fast-import failed")


def make_partitions(months: Sequence[Path], times: int, years_a_partition: int) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each partition; the years go back from 2013."""
    for start in range(0, times, years_a_partition):
        years = [YEAR - each for each in range(start, min(start + years_a_partition, times))]
        for month in months:
            header, _, body = month.read_bytes().partition(b"\n")
            yield f"{years[0]}-{month.stem[-2:]}", header + b"".join(move(body, year) for year in years) + b"\n"


def move(body: bytes, year: int) -> bytes:
    """Return a month's lines, each begun by a line feed, in another year."""
    new, old = str(year).encode(), str(YEAR).encode()
    lines = b"\n" + body.rstrip(b"\n")
    return lines.replace(b"\n" + old + b",", b"\n" + new + b",").replace(b"," + old + b"-", b"," + new + b"-")


def measure(times: int, years_a_partition: int, flights: Path, scratch: Path, steps: Sequence[str]) -> Figures:
    project = make_project(scratch / "project", None)
    months = sorted((flights / "flights").glob("*.csv"))
    make_repository(project / ".modelrail" / "flights", months, times, years_a_partition)
    runs = {each: run((MODELRAIL, "step", each, SPEC), project, memory=True) for each in steps}
    rows = int(json.loads(runs[steps[0]].output)["rows"])
    remove_project(project)
    return Figures(times, rows, runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--years-a-partition", type=int, default=1)
    parser.add_argument("--learn", action="store_true", help="normalize, train and evaluate too")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "modelrail-benchmarks")
    given = parser.parse_args()
    flights = make_flights(given.cache)
    say_machine()
    found = []
    steps = (*MEASURED, *(LEARNING if given.learn else ()))
    with tempfile.TemporaryDirectory() as scratch:
        needed, free = max(given.times) * BYTES_A_TIME, shutil.disk_usage(scratch).free
        if free < needed:
            raise SystemExit(f"{scratch}: found {free / 1e9:.1f} GB free; expected {needed / 1e9:.1f} GB (TMPDIR)")
        print("\ntimes        rows  step              s     CPU s  µs a row  peak MB (PSS, at most 2147)")
        for times in given.times:
            found.append(measure(times, given.years_a_partition, flights, Path(scratch), steps))
            found[-1].say()
    for less, more in pairwise(found):
        ratio = more.microseconds_a_row / less.microseconds_a_row
        print(f"time a row, {more.times} times beside {less.times} times: {ratio:.2f} x (1 is linear)")


if __name__ == "__main__":
    main()
