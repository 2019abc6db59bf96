"""A plan of many partitions: ``python -m benchmarks.planning [--partitions 1000 10000] [--runs 3]``.

``modelrail plan``, the whole command, on a data repository of that many small files: with nothing in the store, with
everything there, and with one file changed. Repository and store are made without running a step: the files by ``git
fast-import``, the artifacts of a size and form as those of the flights. All of it is removed at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

from benchmarks.measuring import interleave, run, say, say_machine
from benchmarks.project import MODELRAIL, commit
from pipeline.home import home
from pipeline.runs.job import open_job
from pipeline.runs.plan.last_runs import Ran, remember
from pipeline.runs.plan.planning import Node
from pipeline.runs.request import RunRequest
from pipeline.runs.session import Session

SPEC = Path("models/many.yaml")
TEXT = """
model: {{name: many, trainer: ridge, target: y}}
data: {{repository: {data}, files: "days/{{day}}.csv", columns: {{{columns}}}}}
"""
COLUMNS = [*(f"x{number}" for number in range(18)), "y"]


def make_data(folder: Path, partitions: int) -> None:
    """Write one small file a day straight into Git's objects."""
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", folder], check=True)
    import_files(folder, {day(number): f"{number}\n".encode() for number in range(partitions)}, "")


def import_files(folder: Path, files: dict[str, bytes], after: str) -> None:
    head = f"commit refs/heads/main\ncommitter B <b@localhost> 1700000000 +0000\ndata 0\n{after}"
    body = (b"M 100644 inline days/%s.csv\ndata %d\n%s\n" % (name.encode(), len(content), content)
            for name, content in files.items())  # fmt: skip
    command = ["git", "-C", str(folder), "fast-import", "--quiet"]
    subprocess.run(command, input=head.encode() + b"".join(body), check=True)


def day(number: int) -> str:
    return (date(1990, 1, 1) + timedelta(days=number)).isoformat()


def make_project(folder: Path, partitions: int) -> Path:
    """Make a spec of 19 columns on a data repository of that many files."""
    make_data(folder / "data", partitions)
    spec = folder / "project" / SPEC
    spec.parent.mkdir(parents=True)
    columns = ", ".join(f"{name}: {{type: float, range: [0, 1000]}}" for name in COLUMNS)
    spec.write_text(TEXT.format(data=folder / "data", columns=columns))
    (folder / "project" / ".gitignore").write_text(".modelrail/\n")
    commit(folder / "project", "A spec", initial=True)
    return folder / "project"


def fill_store(project: Path) -> None:
    """Put an artifact under every key of the plan, step after step."""
    os.chdir(project)
    job = open_job(RunRequest(str(SPEC)))
    remembered = []
    for step in ("clean", "transform", "normalize", "train", "evaluate"):
        session = Session(job)
        for node in session.chain.nodes(step):
            publish(session, node)
            assert node.recipe is not None  # noqa: S101 - it is published
            remembered.append(Ran(node.recipe, node.partition, 0.1, 0.1, 200_000_000))
    remember(home(project), "many", remembered)


def publish(session: Session, node: Node) -> None:
    assert node.recipe is not None  # noqa: S101 - its inputs were published before
    names = {"clean": ("rows.parquet", "report.json"), "transform": ("features.parquet", "statistics.json")}
    with session.artifacts.store.draft() as folder:
        for name in names.get(node.step, ("evaluation.json", "signature.json")):
            (folder / name).write_text(f"{name} of {node.partition}")
        facts: dict[str, object] = {
            "step": node.step, "partition": node.partition, "model": "many", "recipe": node.recipe.to_json(),
            "rows": 1, "seconds": 0.1, "cpu_s": 0.1, "peak_bytes": 200_000_000, "rows_dropped": {}, "notes": [],
            "columns": dict.fromkeys(COLUMNS, "float"), "commits": {"data": "0" * 40, "spec": "0" * 40, "code": "?"},
        }  # fmt: skip
        session.artifacts.store.publish(node.recipe.key, folder, facts)


def measure(scratch: Path, partitions: int, runs: int) -> dict[str, list[float]]:
    project = make_project(scratch / str(partitions), partitions)
    plan: Callable[[], float] = lambda: run((MODELRAIL, "plan", SPEC), project).seconds  # noqa: E731
    empty = interleave({"nothing in the store": plan}, runs)
    fill_store(project)
    full = interleave({"all in the store": plan}, runs)
    changed = hashlib.sha256(b"changed").hexdigest().encode()
    import_files(scratch / str(partitions) / "data", {day(partitions // 2): changed}, "from refs/heads/main^0\n")
    return empty | full | interleave({"one file changed": plan}, runs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args(arguments)
    say_machine()
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for partitions in given.partitions:
            found[partitions] = measure(Path(scratch), partitions, given.runs)
            say(f"modelrail plan, {partitions:,} partitions", found[partitions])
    for fewer, more in pairwise(given.partitions):
        for name in found[more]:
            ratio = min(found[more][name]) / min(found[fewer][name])
            print(f"{name}: {ratio:.1f} times as long for {more / fewer:g} times the partitions")


if __name__ == "__main__":
    main()
