"""What Airflow adds to each task: ``python -m benchmarks.tasks [--runs 5]``.

An Airflow as `make run` starts it runs the DAG of a small model, of which all is reused: what is left is the way from
one task to the next, the start of a process with its imports, and the look at the store. Of each task it prints how
long it waited since the one before had ended, and how long it took; then a task's share of a whole run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.measuring import say, say_machine
from benchmarks.project import commit
from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.orchestration.services import Airflow, down, up

SPEC = """\
model: {name: small, trainer: ridge, task: regression, target: y}
data: {files: "data/{month}.csv", columns: {x: float, y: float}}
deploy: {port: 0}
"""


def make_project(folder: Path) -> Path:
    """Make a repository with a spec and two partitions."""
    (folder / "models").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "models" / "small.yaml").write_text(SPEC)
    (folder / ".gitignore").write_text(".modelrail/\n")
    for month in (1, 2):
        rows = "".join(f"{x * month},{2 * x * month + 1}\n" for x in range(200))
        (folder / "data" / f"2013-{month:02d}.csv").write_text(f"x,y\n{rows}")
    commit(folder, "A spec and its data", initial=True)
    return folder


def run(airflow: Airflow) -> tuple[float, dict[str, tuple[float, float]]]:
    """Run the DAG to its end; give a task's share of the whole run, and of each how long it waited and took."""
    name = airflow.trigger("small", {})
    path = f"/api/v2/dags/small/dagRuns/{name}"
    while (found := airflow.request("GET", path))["state"] in {"queued", "running"}:
        time.sleep(0.5)
    if found["state"] != "success":
        raise SystemExit(f"{name} ended as {found['state']}")
    tasks = airflow.request("GET", f"{path}/taskInstances", params={"limit": 100})["task_instances"]
    return share(found, [task for task in tasks if task["start_date"]])


def share(found: dict[str, Any], tasks: list[dict[str, Any]]) -> tuple[float, dict[str, tuple[float, float]]]:
    """Divide a run's time among its tasks, in the order in which they ran."""
    before, end = moment(found["start_date"]), moment(found["end_date"])
    each_s, shares = (end - before) / len(tasks), {}
    for task in sorted(tasks, key=lambda each: str(each["start_date"])):
        started, ended = moment(task["start_date"]), moment(task["end_date"])
        shares[task["task_id"]] = (max(started - before, 0.0), ended - started)
        before = ended
    return each_s, shares


def moment(text: str) -> float:
    """Return an instant in seconds."""
    return datetime.fromisoformat(text).timestamp()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="how many runs of which all is reused")
    runs = parser.parse_args().runs
    say_machine(["apache-airflow-core"])
    with tempfile.TemporaryDirectory() as scratch:
        project = make_project(Path(scratch) / "project")
        state = project / ".modelrail"
        try:
            services = up(state, project / "models")
            with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
                run(airflow)  # computes all
                found = [run(airflow) for _ in range(runs)]
        finally:
            down(state)
            stop_all(state)
    waited, took = defaultdict(list), defaultdict(list)
    for _, shares in found:
        for name, (wait_s, work_s) in shares.items():
            waited[name].append(wait_s)
            took[name].append(work_s)
    say("Waiting since the task before", waited)
    say("At work", took)
    say("The whole run, divided by its tasks (aim: at most 0.3 s)", {"a task": [each_s for each_s, _ in found]})


if __name__ == "__main__":
    main()
