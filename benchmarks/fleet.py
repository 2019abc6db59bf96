"""What many models cost: ``python -m benchmarks.fleet [--models 100 1000] [--runs 3] [--only status]``.

A repository with that many models: a spec of 30 lines each, and for each two releases, a stage in two environments (as
annotated tags), three artifacts in the store with the claims of their releases, and a note of what they cost. Timed are
whole commands, and the page of all models as Airflow's API server makes it; in CPU time, of which Git's is a part. Of
each is printed what it takes at each size, how it grows (the exponent: 1 is linear, 2 quadratic) and what one more
model costs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.measuring import run, say_machine
from benchmarks.pages import INPUTS, tag_object
from benchmarks.project import MODELRAIL, commit
from pipeline.delivery.releases import Evidence, Release, Version, message
from pipeline.delivery.stages import Stage
from pipeline.delivery.stages import message as stage_message
from pipeline.storage.artifacts import Store, open_store
from pipeline.storage.artifacts.claims import claim_for_release
from pipeline.ui.pages.archive import Archive
from pipeline.ui.pages.fleet import fleet_page
from pipeline.ui.pages.rendering import render

SPEC = """\
model:
  name: {name}
  description: A model among many.
  owner: somebody@example.org
  trainer: ridge
  params: {{alpha: {alpha}}}
  task: regression
  target: y
data:
  files: data/{{month}}.csv
  columns:
    day: int
    a: {{type: float, range: [0, 2400]}}
    b: {{type: float, range: [0, 6000]}}
    kind: {{type: str, allowed: [one, two, three]}}
    y: float
  derive: {{total: a + b}}
  key: [day, kind]
clean:
  duplicates: drop
  missing: {{y: drop, "*": median}}
transform:
  kind: one_hot
normalize: {{"*": standard}}
evaluate:
  metrics: [r2, mae]
  gate: {{r2: {{at_least: 0.5}}}}
schedule: {{cron: "0 3 1 * *"}}
deploy: {{port: 0}}
"""
STEPS = ("normalize", "train", "evaluate")
WHO = "B <b@localhost>"


def make_fleet(folder: Path, count: int) -> Path:
    """Make the repository, its tags and its store."""
    for place, text in {
        "environments/prod.yaml": "tasks: {retries: 4}\n",
        "data/2013-01.csv": "day,a,b,kind,y\n1,2,3,one,4\n",
        ".gitignore": ".modelrail/\n",
        **{f"models/{name(number)}.yaml": SPEC.format(name=name(number), alpha=number + 1) for number in range(count)},
    }.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(text)
    commit(folder, "Specs and data", initial=True)
    head = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    stream = b"".join(tags(head.stdout.strip(), count)).replace(b"from :1\n", b"from refs/heads/main\n")
    subprocess.run(["git", "-C", str(folder), "fast-import", "--quiet"], input=stream, check=True)
    subprocess.run(["git", "-C", str(folder), "pack-refs", "--all"], check=True)
    fill(open_store(str(folder / ".modelrail/store"), folder / ".modelrail"), head.stdout.strip(), count)
    return folder


def name(number: int) -> str:
    """Name a model."""
    return f"model-{number:05d}"


def key(number: int, step: str, patch: int) -> str:
    """Return the key of an artifact."""
    return hashlib.sha256(f"{number} {step} {patch}".encode()).hexdigest()


def tags(spec_commit: str, count: int) -> Iterator[bytes]:
    """Write two releases of each model, and which is live."""
    for number in range(count):
        for patch in (0, 1):
            evidence = Evidence(
                data_repository=".", data_commit=spec_commit, spec_commit=spec_commit, code="modelrail 0.1.0",
                spec_path=f"models/{name(number)}.yaml", environment=None, as_of=None, partitions=1,
                artifacts={step: key(number, step, patch) for step in STEPS}, model_digest=key(number, "digest", patch),
                recipe="r", signature={"task": "regression", "inputs": INPUTS[:5], "classes": None, "example": {}},
                metrics={each: {"value": 0.9, "low": 0.8, "high": 1.0} for each in ("r2", "mae")},
                verdict=["r2 0.9 is at least 0.5: passed"], mlflow_run=None, who=WHO, why="New data",
            )  # fmt: skip
            release = Release(name(number), Version(1, 0, patch), evidence)
            yield tag_object(release.tag, message(release, None).encode(), patch)
        for environment in ("local", "prod"):
            stage = Stage(name(number), environment, 1, Version(1, 0, 1), "deploy", WHO, "New data")
            yield tag_object(stage.tag, stage_message(stage, None).encode(), 2)


def fill(store: Store, spec_commit: str, count: int) -> None:
    """Put into the store what the releases were made of, and what that cost."""
    created = (datetime.now(UTC) - timedelta(days=60)).isoformat()
    for number in range(count):
        for step in STEPS:
            facts: dict[str, Any] = {
                "step": step,
                "model": name(number),
                "created": created,
                "commits": {"spec": spec_commit},
            }
            if step == "normalize":
                facts |= {"features": 5, "sides": dict.fromkeys(("train", "validate", "test"), 100)}
            with store.draft() as draft:
                (draft / "content.json").write_text(f"{number} {step}")
                store.publish(key(number, step, 1), draft, facts)
        claim_for_release(store, name(number), [key(number, step, 1) for step in STEPS])
        part = {"train": {"started": created, "seconds": 1.0, "cpu_s": 1.0}}
        store.write_note(f"costs/{name(number)}/{created[:7]}-merged/0.json", json.dumps({"merged": part}).encode())


def commands(project: Path, count: int) -> Mapping[str, Callable[[], float]]:
    """Return what is timed: each gives its seconds of CPU time."""
    middle = name(count // 2)

    def call(*arguments: str) -> Callable[[], float]:
        return lambda: run([MODELRAIL, *arguments], project).cpu_s

    warm = Archive(project / "models")
    warm.sources.all()

    def page(archive: Archive) -> float:
        began = time.process_time()
        render("models.html", "/modelrail", shown=fleet_page(archive, lambda _: True, lambda _: {}))
        return time.process_time() - began

    return {
        "releases MODEL": call("releases", middle),
        "status": call("status"),
        "check": call("check"),
        "check SPEC": call("check", f"models/{middle}.yaml"),
        "plan SPEC": call("plan", f"models/{middle}.yaml"),
        "plan": call("plan"),
        "gc": call("gc", "--yes", "--keep", "52w"),
        "the Models page, first": lambda: page(Archive(project / "models")),
        "the Models page": lambda: page(warm),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names of what is timed")
    given = parser.parse_args()
    say_machine()
    found: dict[str, dict[int, float]] = {}
    for count in sorted(given.models):
        with tempfile.TemporaryDirectory() as scratch:
            timed = commands(make_fleet(Path(scratch) / "fleet", count), count)
            for what, action in timed.items():
                if given.only and what not in given.only:
                    continue
                found.setdefault(what, {})[count] = statistics.median(action() for _ in range(given.runs))
                print(f"{count:6} models  {what:24} {found[what][count]:8.3f} s", flush=True)
    print("\n".join(table(found)))


def table(found: Mapping[str, Mapping[int, float]]) -> Iterator[str]:
    """Write Markdown: what it takes at each size, how it grows between the last two, what one more model costs."""
    sizes = sorted({size for seconds in found.values() for size in seconds})
    yield f"| CPU time at this many models | {' | '.join(f'{size:,}' for size in sizes)} | exponent | a model more |"
    yield "|" + "---|" * (len(sizes) + 3)
    for what, seconds in found.items():
        less, more = sizes[-2:] if len(sizes) > 1 else (1, sizes[0])
        begin_s, end_s = seconds.get(less, 0.0), seconds[more]
        exponent = f"{math.log(end_s / begin_s) / math.log(more / less):.2f}" if begin_s else ""
        values = " | ".join(f"{seconds[size]:.2f} s" for size in sizes)
        yield f"| {what} | {values} | {exponent} | {(end_s - begin_s) / (more - less) * 1000:.2f} ms |"


if __name__ == "__main__":
    main()
