"""Faults under KubernetesExecutor: ``python -m benchmarks.executor.faults --image IMAGE --serving IMAGE``.

With what tests/runs/pods/cluster.py asks for, REGISTRY and Buildah; IMAGE is the pipeline's with the extra ``pods``.
The image of the workers and their template are those of docs/pods.md. The first run is computed while the scheduler is
killed twice and a worker is deleted; in the second, a canary, the worker that deploys is deleted, while a client never
stops.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.executor.world import World, started
from benchmarks.measuring import say_machine
from tests.cluster.conftest import Client, rows, wait_until
from tests.cluster.lines import rollout_in
from tests.cluster.test_in_airflow import CANARY

SPEC = """
model:
  name: late-flights
  trainer: mlp
  params: {max_iter: 3000, tol: 0.0, n_iter_no_change: 3000}
  target: late
data:
  files: data/{part}.csv
  columns: {delay: float, carrier: str, late: bool}
transform: {carrier: category}
evaluate: {metrics: [accuracy], gate: {accuracy: {at_least: 0.8, behind_champion_at_most: 0.1}}, bootstrap: 0}
"""
BEGAN = time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", required=True, help="the pipeline image with the extra pods")
    parser.add_argument("--serving", required=True, help="the serving image")
    asked = parser.parse_args()
    say_machine()
    deploy = {"ready_within_s": 120, "replicas": 2, "strategy": "canary", "canary": CANARY}
    with (
        tempfile.TemporaryDirectory() as name,
        started(Path(name), SPEC, {"data/1.csv": rows(600)}, asked.image, asked.serving, deploy) as world,
    ):
        first = compute(world)
        client = Client(world.project)
        second = exchange(world)
        say(f"answered: {dict(client.answered())}, dropped: {dict(client.dropped()) or 0}")
        client.stop()
        conclude(world, first, second)


def compute(world: World) -> str:
    """Run the model for the first time: the scheduler is killed twice, and a worker is deleted."""
    run = world.trigger("kubernetes")
    await_state(world, run, "clean", "running")
    kill_scheduler(world, "clean is at work")
    await_state(world, run, "normalize", "queued")
    kill_scheduler(world, "normalize is queued")
    await_state(world, run, "normalize", "running", "success")
    say("normalize is at work, or done")
    delete_worker(world, run, "train")
    end(world, run)
    return run


def exchange(world: World) -> str:
    """Run it with more data: the worker that deploys is deleted in a step of the canary."""
    world.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    run = world.trigger("kubernetes")
    wait_until(lambda: written(world).get("step") == 0, "a step of the canary", 900)
    delete_worker(world, run, "deploy")
    end(world, run)
    return run


def kill_scheduler(world: World, when: str) -> None:
    world.kill_scheduler()
    say(f"{when}: the scheduler is killed, and started again")
    world.start_scheduler()


def delete_worker(world: World, run: str, step: str) -> None:
    """Delete a step's worker while its task is at work; wait until there is another one."""
    await_state(world, run, step, "running")
    before = world.workers()[step]["metadata"]
    say(f"{step} is at work: its worker is deleted; of a canary is written {written(world)}")
    world.namespace.kubectl("delete", "pod", before["name"], "--now")
    wait_until(lambda: world.workers().get(step, {}).get("metadata", before)["uid"] != before["uid"], "another", 600)
    say(f"{step} has another worker")


def await_state(world: World, run: str, step: str, *states: str) -> None:
    known = f"{step} to be {' or '.join(states)}"
    wait_until(lambda: world.tasks(run).get(step, {}).get("state") in states, known, 900, every_s=0.1)


def written(world: World) -> dict[str, Any]:
    return dict(rollout_in(world.project.get("leases"), world.model)[0])


def end(world: World, run: str) -> None:
    outcome = world.follow(run)
    tries = {name: task["try_number"] for name, task in world.tasks(run).items()}
    say(f"run {run}: succeeded {outcome.succeeded}, failures {outcome.failures}, tries {tries}")


def conclude(world: World, *runs: str) -> None:
    """Say what is there twice, and what is left."""
    command = ["git", "-C", str(world.project.root.parent / "origin.git"), "tag"]
    tags = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    say(f"of {len(runs)} runs: tags {tags}; of a canary is written {written(world)}")
    began = time.monotonic()
    wait_until(lambda: not world.workers() or time.monotonic() - began > 400, "no worker to be left", 420, every_s=2)
    phases = {name: pod["status"]["phase"] for name, pod in world.workers().items()}
    say(f"workers left after {time.monotonic() - began:.0f} s: {phases or 'none'}")


def say(what: str) -> None:
    print(f"{time.monotonic() - BEGAN:7.1f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
