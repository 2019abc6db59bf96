"""What it costs to count answered rows in the bins of the release's reference.

``.venv/bin/python -m benchmarks.serving.counting [--rounds 10] [--seconds 3]``

Needs `wrk` and two cores. Two servers have the same release, one of them without its ``reference.json``; they are
loaded in turns, with one row a request on 64 connections, so that what else the machine does meets both alike.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.measuring import say_machine
from benchmarks.serving.contenders import CONTENDERS, Row
from benchmarks.serving.loading import Load, Serving, serving, stay_away
from benchmarks.serving.models import MODELS, make_releases, make_table
from pipeline.model.reference import REFERENCE

CONNECTIONS = 64
WARM_S = 2.0


def without_reference(bundle: Path, folder: Path) -> Path:
    """Copy a bundle but for its reference."""
    shutil.copytree(bundle, folder)
    (folder / REFERENCE).unlink()
    record = json.loads((folder / "release.json").read_bytes())
    del record["files"][REFERENCE]
    (folder / "release.json").write_text(json.dumps(record))
    return folder


def measure(servers: Sequence[Serving], rows: Sequence[Row], rounds: int, seconds: float) -> list[list[Load]]:
    """Load the servers in turns, each time in the other order."""
    found: list[list[Load]] = [[] for _ in servers]
    for number in range(rounds):
        order = range(len(servers)) if number % 2 else reversed(range(len(servers)))
        for place in order:
            found[place].append(servers[place].load(rows, CONNECTIONS, seconds))
    return found


def show(name: str, plain: Sequence[Load], counting: Sequence[Load]) -> None:
    """Print medians, and the medians of the rounds' ratios."""
    for title, loads in (("without", plain), ("with", counting)):
        rate, cpu, mib = (median(getattr(each, key) for each in loads) for key in ("rate", "cpu_us", "mib"))
        print(f"{name}, {title}: {rate:,.0f} requests/s, {cpu:.1f} µs of CPU each, {mib:.1f} MiB at the end")
    lost = median(1 - b.rate / a.rate for a, b in zip(plain, counting, strict=True))
    more = median(b.cpu_us / a.cpu_us - 1 for a, b in zip(plain, counting, strict=True))
    print(f"{name}: {lost:.1%} of the throughput, {more:.1%} more CPU, {counting[-1].mib - plain[-1].mib:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch, "table.csv")
        rows = make_table(table)
        make_releases(Path(scratch, "modelrail"), table, given.models)
        say_machine()
        stay_away()
        for model in given.models:
            bundle = Path(scratch, "modelrail", model)
            bundles = (without_reference(bundle, Path(scratch, f"{model}-plain")), bundle)
            with ExitStack() as stack:
                log = Path(scratch, "log")
                servers = [
                    stack.enter_context(serving(CONTENDERS["modelrail"], each, log, rows[0], log)) for each in bundles
                ]
                for each in servers:
                    each.load(rows, CONNECTIONS, WARM_S)
                show(model, *measure(servers, rows, given.rounds, given.seconds))


if __name__ == "__main__":
    main()
