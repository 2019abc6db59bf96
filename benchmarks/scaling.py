"""Ten and a hundred times the rows: ``python -m benchmarks.scaling [--times 1 10 100] [--years-a-partition 1]``.

The flights of 2013 are repeated with other years, so that every row has a key of its own; each month stays a partition,
or several years of a month are put into one. ``modelrail step clean`` and ``modelrail step transform`` (which collects
the statistics) are measured by themselves. A hundred times the rows are 3.1 GB of CSV and about as much again in Git
and in the store: 12 GB must be free in the folder for temporary files. All of it is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import run, say_machine
from benchmarks.project import MODELRAIL, ROOT, SPEC, call, commit, make_flights, make_project, remove_project

GIB = 2**30
LIMIT_MB = 2 * GIB / 1e6
BYTES_A_TIME = 120_000_000  # CSV, Git and store, with something to spare
BATCH_FILES = 120


@dataclass(frozen=True)
class Figures:
    """What one size took."""

    times: int
    rows: int
    clean_s: float
    transform_s: float
    clean_mb: float
    transform_mb: float

    @property
    def microseconds_a_row(self) -> float:
        return 1e6 * (self.clean_s + self.transform_s) / self.rows


def multiply(flights: Path, folder: Path, times: int, years_a_partition: int) -> None:
    """Write each month for many years, and commit in batches so that Git's memory stays small."""
    months = sorted((flights / "flights").glob("*.csv"))
    target = folder / "flights"
    target.mkdir(parents=True)
    call("git", "-C", folder, "init", "--quiet", "--initial-branch", "main")
    call("git", "-C", folder, "config", "core.compression", "1")
    call("git", "-C", folder, "config", "gc.auto", "0")
    for start in range(0, times, years_a_partition):
        years = range(2013 - start, 2013 - min(start + years_a_partition, times), -1)
        for month in months:
            header, _, body = month.read_text().partition("\n")
            name = f"{years[0]}-{month.stem[-2:]}.csv"
            with (target / name).open("w") as file:
                file.write(header + "\n")
                for year in years:
                    file.write(body.replace("2013", str(year)))
        if (start // years_a_partition + 1) % (BATCH_FILES // 12) == 0:
            commit(folder, f"Down to {years[-1]}")
            shutil.rmtree(target)
            target.mkdir()
            call("git", "-C", folder, "sparse-checkout", "set", "--no-cone", "/nothing")
    call("git", "-C", folder, "sparse-checkout", "disable") if (folder / ".git/info/sparse-checkout").exists() else None


def measure(times: int, years_a_partition: int, flights: Path, scratch: Path) -> Figures:
    source = scratch / "source"
    multiply(flights, source, times, years_a_partition)
    project = make_project(scratch / "project", source, (ROOT / SPEC).read_text())
    shutil.rmtree(source)
    clean = run((MODELRAIL, "step", "clean", SPEC), project, memory=True)
    transform = run((MODELRAIL, "step", "transform", SPEC), project, memory=True)
    rows = int(json.loads(clean.output)["rows"])
    remove_project(project)
    return Figures(times, rows, clean.seconds, transform.seconds, clean.peak_mb, transform.peak_mb)
