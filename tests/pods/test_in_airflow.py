"""Steps in pods, in a real Airflow on a real cluster: they run, fail with words, survive kills, and leave nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.deployment.local import stop_all
from pipeline.standalone import Airflow, Services, down, follow, processes, settings, up
from pipeline.standalone.client import _run as name_run
from pipeline.standalone.following import Outcome

from .cluster import HOW, Namespace, is_here, namespace, poll, served

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.cluster,
    pytest.mark.extra("pods"),
    pytest.mark.skipif(not is_here(), reason=HOW),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running"),
]
SPEC = """\
model: {name: late, trainer: logistic_regression, target: late}
data:
  files: data/{month}.csv
  columns: {number: int, distance: float, delay: float}
  derive: {late: delay > 15}
  key: [number]
features: {select: [distance]}
evaluate: {metrics: [accuracy], gate: {accuracy: {at_least: 0.5}}, bootstrap: 20}
deploy: {port: 0, push_tags: true}
tasks: {retries: 2}
"""
PODS = """\
run:
  default: {{where: pod, cpu: 0.25, memory: 1Gi}}
  deploy: process
  verify: process
  image: {image}
  namespace: {namespace}
  secrets: [store]
"""
TRAIN = """\
run:
  train: {{where: pod, memory: {memory}, cpu: {cpu}}}
  image: {image}
  namespace: {namespace}
  secrets: [store]
  start_timeout_s: {start}
model: {model}
"""
USUAL = {"memory": "1Gi", "cpu": 0.25, "start": 600}
SLOW = "{trainer: mlp, params: {max_iter: 1000000, tol: 0.0, n_iter_no_change: 1000000}}"


def environments(image: str, namespace: str) -> dict[str, str]:
    """Give overlays: each of the last ones trains another model, in a pod of its own, and reuses all before it."""

    def train(model: str, **changes: object) -> str:
        return TRAIN.format(**{"image": image, "namespace": namespace, "model": model, **USUAL, **changes})

    pods = PODS.format(image=image, namespace=namespace)
    return {
        "pods": pods,
        "fused": pods + "  fuse: [clean, transform, normalize, train, evaluate]\n",
        "small": train("{seed: 1}", memory="24Mi"),
        "huge": train("{seed: 2}", cpu=1000, start=5) + "tasks: {retries: 0}\n",
        "gone": train("{seed: 3}", image="localhost:5001/no/such:image"),
        "brief": train(SLOW, memory="4Gi") + "tasks: {timeout_s: 25}\n",
        "slow": train(SLOW, memory="4Gi"),
    }


@dataclass(frozen=True)
class World:
    """A project, an Airflow that runs it, and the namespace of its pods."""

    project: Path
    namespace: Namespace
    services: Services
    airflow: Airflow
    environment: Mapping[str, str]

    def trigger(self, environment: str, **conf: object) -> str:
        return self.airflow.trigger("late", {"environment": environment, **conf})

    def follow(self, run: str) -> Outcome:
        return follow(self.airflow, "late", run, Console(quiet=True))

    def run(self, environment: str, **conf: object) -> Outcome:
        return self.follow(self.trigger(environment, **conf))

    def log(self, run: str, task: str) -> str:
        return str(self.airflow.request("GET", f"{name_run('late', run)}/taskInstances/{task}/logs/1"))

    def restart(self) -> None:
        """Kill all of Airflow, and start it again."""
        for process in processes.find_by_variable(settings.MARKER, str(self.project / ".modelrail")):
            process.send_signal(signal.SIGKILL)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            up(self.project / ".modelrail", self.project / "models", airflow_port=18281)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def make_project(folder: Path, namespace: Namespace, git_address: str) -> Path:
    project = folder / "project"
    for name in ("models", "data", "environments"):
        (project / name).mkdir(parents=True)
    (project / "models" / "late.yaml").write_text(SPEC)
    (project / ".gitignore").write_text(".modelrail/\n")
    for name, text in environments(os.environ["MODELRAIL_PIPELINE_IMAGE"], namespace.name).items():
        (project / "environments" / f"{name}.yaml").write_text(text)
    for month in (1, 2):
        rows = (f"{month * 1000 + row},{row * 7 % 100},{row * 7 % 100 - 40 + row % 3}" for row in range(200))
        (project / "data" / f"2013-{month:02d}.csv").write_text("\n".join(["number,distance,delay", *rows]) + "\n")
    subprocess.run(["git", "init", "-q", "-b", "main", str(project)], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", "--bare", str(folder / "origin.git")], check=True)
    git(project, "config", "user.name", "Test")
    git(project, "config", "user.email", "test@example.org")
    git(project, "remote", "add", "origin", f"{git_address}/origin.git")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "spec and data")
    git(project, "push", "-q", "origin", "main")
    return project


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("pods")
    with pytest.MonkeyPatch.context() as patch, namespace() as own, served(folder) as served_at:
        for name in [name for name in os.environ if name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))]:
            if name != "MODELRAIL_PIPELINE_IMAGE":
                patch.delenv(name)
        environment = {"MODELRAIL_STORE": f"s3://store/{own.name}", "MLFLOW_TRACKING_URI": served_at["mlflow"]}
        for name, value in environment.items():
            patch.setenv(name, value)
        project = make_project(folder, own, served_at["git"])
        state = project / ".modelrail"
        try:
            services = up(state, project / "models", airflow_port=18281)
            with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
                yield World(project, own, services, airflow, environment)
        finally:
            down(state)
            stop_all(state)


def states(outcome: Outcome) -> dict[str, str]:
    return {step.step: step.state for step in outcome.steps}


def test_a_model_is_made_in_pods_and_answers_and_nothing_is_left(world: World) -> None:
    run = world.trigger("pods")
    outcome = world.follow(run)
    assert outcome.failures == ()
    assert outcome.released
    assert set(states(outcome).values()) == {"done"}
    assert outcome.results["verify"]["prediction"] in (True, False)
    assert "[step]" in world.log(run, "train")
    assert "train: ran in" in world.log(run, "train")
    assert world.namespace.pods() == []


def test_what_is_there_needs_no_pod(world: World) -> None:
    outcome = world.run("pods")
    assert outcome.failures == ()
    assert {states(outcome)[step] for step in ("clean", "transform", "normalize", "train", "evaluate")} == {"reused"}


def test_fused_steps_share_a_pod_and_stay_tasks_of_their_own(world: World) -> None:
    run = world.trigger("fused", force=True)
    outcome = world.follow(run)
    assert outcome.failures == ()
    assert {states(outcome)[step] for step in ("clean", "transform", "normalize", "train", "evaluate")} == {"done"}
    tasks = {task.task_id: task for task in world.airflow.list_tasks("late", run)}
    pods = {name: world.airflow.read_result("late", run, task, "pod_name") for name, task in tasks.items()}
    assert sorted(name for name, pod in pods.items() if pod) == ["clean", "release"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            "small",
            "killed for want of memory (its limit is 24Mi); expected it to fit: give it more memory (run.tra",
        ),
        ("huge", "found no node for it (0/1 nodes are available: 1 Insufficient cpu"),
        ("gone", "found an image that cannot be pulled, localhost:5001/no/such:image"),
    ],
)
def test_a_pod_that_cannot_do_its_step_says_which_trouble_it_has(world: World, environment: str, said: str) -> None:
    (failure,) = world.run(environment).failures
    assert failure.task == "train"
    assert failure.message.startswith("train: pod late-train-")
    assert said in failure.message
    world.namespace.wait_until_empty()


def test_a_step_that_takes_too_long_is_ended_with_its_pod(world: World) -> None:
    (failure,) = world.run("brief").failures
    assert "found it without an end after 25 s; expected it to be done: give it more time (tasks.timeout_s)" in (
        failure.message
    )
    world.namespace.wait_until_empty()


def test_a_task_that_is_marked_failed_takes_its_pod_along(world: World) -> None:
    run = world.trigger("slow")
    world.namespace.wait_for("Running", "train", 120)
    address = f"{name_run('late', run)}/taskInstances/train"
    world.airflow.request("PATCH", address, json={"new_state": "failed"})
    world.namespace.wait_until_empty()


def test_the_same_pod_goes_on_when_all_of_airflow_was_killed(world: World) -> None:
    run = world.trigger("slow")
    before = world.namespace.wait_for("Running", "train", 120)
    world.restart()
    for _ in poll(60):
        tasks = {task.task_id: task.state for task in world.airflow.list_tasks("late", run)}
        if tasks["train"] in {"deferred", "running"}:
            break
    assert tasks["train"] in {"deferred", "running"}
    (after,) = world.namespace.pods()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["phase"] == "Running"
    world.airflow.request("PATCH", f"{name_run('late', run)}/taskInstances/train", json={"new_state": "failed"})
    world.namespace.wait_until_empty()
