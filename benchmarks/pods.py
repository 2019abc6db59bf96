"""What a pod adds to a step: ``python -m benchmarks.pods`` (with KUBECONFIG).

It needs what tests/runs/pods/cluster.py asks for besides. A small model is run in a real Airflow on a real cluster:
with all steps in processes, in a pod each, and with five steps that share a pod. Seconds from the start of the first
step's task to the end of the last one's, and of each task.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.measuring import say_machine
from tests.runs.pods.cluster import HOW, is_here
from tests.runs.pods.test_in_airflow import files
from tests.runs.pods.world import World, started

STEPS = ("clean", "transform", "normalize", "train", "evaluate")
KINDS = {"a process each": None, "a pod each": "pods", "one pod for all": "fused"}


def main(runs: int) -> None:
    if not is_here():
        raise SystemExit(HOW)
    say_machine()
    with tempfile.TemporaryDirectory() as name, started(Path(name), 18381, alone) as world:
        measure(world, runs)


def alone(namespace: str) -> dict[str, str]:
    """Return the files of the project; none of its environments has workers in a namespace of their own."""
    return files(namespace, {})


def measure(world: World, runs: int) -> None:
    found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for number in range(runs + 1):
        for kind, environment in KINDS.items():
            seconds = run(world, environment)
            if number:  # the first one pulls the image and imports everything
                found[kind].append(seconds)
    print(f"\n{'':18} {'all':>7} " + " ".join(f"{step:>9}" for step in STEPS))
    for kind, times in found.items():
        middle = [statistics.median(column) for column in zip(*times, strict=True)]
        print(f"{kind:18} {sum(middle):7.1f} " + " ".join(f"{each:9.1f}" for each in middle), flush=True)


def run(world: World, environment: str | None) -> list[float]:
    """Run the model anew; give the seconds of each step, with the waiting before its task."""
    name = world.trigger(environment, force=True)
    outcome = world.follow(name)
    if outcome.failures:
        raise SystemExit(str(outcome.failures))
    tasks = world.airflow.request("GET", f"{world.name(name)}/taskInstances")["task_instances"]
    ends = [_end(tasks, step) for step in ("plan", *STEPS)]
    return [(after - before).total_seconds() for before, after in pairwise(ends)]


def _end(tasks: list[dict[str, Any]], step: str) -> datetime:
    return max(datetime.fromisoformat(each["end_date"]) for each in tasks if each["task_id"] == step)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
