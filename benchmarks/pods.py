"""What a pod adds to a step: ``python -m benchmarks.pods`` (with KUBECONFIG and what tests/pods/cluster.py asks for).

A small model is run in a real Airflow on a real cluster: with all steps in processes, in a pod each, and with five
steps that share a pod. Seconds from the start of the first step's task to the end of the last one's, and of each task.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.measuring import say_machine
from pipeline.deployment.local import stop_all
from pipeline.standalone import Airflow, down, follow, up
from tests.pods.cluster import HOW, is_here, namespace, served
from tests.pods.test_in_airflow import make_project, name_run

STEPS = ("clean", "transform", "normalize", "train", "evaluate")
KINDS = {"a process each": None, "a pod each": "pods", "one pod for all": "fused"}


def main(runs: int) -> None:
    if not is_here():
        raise SystemExit(HOW)
    say_machine()
    with tempfile.TemporaryDirectory() as name, namespace() as own, served(Path(name)) as served_at:
        os.environ |= {"MODELRAIL_STORE": f"s3://store/{own.name}", "MLFLOW_TRACKING_URI": served_at["mlflow"]}
        project = make_project(Path(name), own, served_at["git"])
        state = project / ".modelrail"
        try:
            services = up(state, project / "models", airflow_port=18381)
            with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
                measure(airflow, runs)
        finally:
            down(state)
            stop_all(state)


def measure(airflow: Airflow, runs: int) -> None:
    found: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    for number in range(runs + 1):
        for kind, environment in KINDS.items():
            seconds = run(airflow, {"environment": environment, "force": True})
            if number:  # the first one pulls the image and imports everything
                found[kind].append(seconds)
    print(f"\n{'':18} {'all':>7} " + " ".join(f"{step:>9}" for step in STEPS))
    for kind, times in found.items():
        middle = [statistics.median(column) for column in zip(*times, strict=True)]
        print(f"{kind:18} {sum(middle):7.1f} " + " ".join(f"{each:9.1f}" for each in middle), flush=True)


def run(airflow: Airflow, conf: dict[str, Any]) -> list[float]:
    """Run the model anew; give the seconds of each step, with the waiting before its task."""
    name = airflow.trigger("late", conf)
    outcome = follow(airflow, "late", name, Console(quiet=True))
    if outcome.failures:
        raise SystemExit(str(outcome.failures))
    tasks = airflow.request("GET", f"{name_run('late', name)}/taskInstances")["task_instances"]
    ends = [_end(tasks, step) for step in ("plan", *STEPS)]
    return [(after - before).total_seconds() for before, after in pairwise(ends)]


def _end(tasks: list[dict[str, Any]], step: str) -> datetime:
    return max(datetime.fromisoformat(each["end_date"]) for each in tasks if each["task_id"] == step)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
