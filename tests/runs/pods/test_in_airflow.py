"""Steps in pods, in a real Airflow on a real cluster: they run, fail with words, survive kills, and leave nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from pipeline.home import CHECKOUT

from .admission import OWN_IMAGES, inside, with_framework
from .cluster import HOW, IMAGE, Namespace, is_here, poll
from .world import World, pods_of, started, states

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.cluster,
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
CREW = (
    PODS
    + """\
  train: {{where: pod, memory: 2Gi, cpu: 0.25}}
  workers: {{where: pod, memory: 1Gi}}
  trainer: modelrail-trainer
model: {{trainer: {framework}_mlp, params: {{layers: [4], epochs: 30, learning_rate: 0.05, workers: 2}}}}
"""
)
"""Learnt in two pods, in a namespace and an image with which pods have the framework."""
Crews = Mapping[str, tuple[Namespace, str]]
"""Framework → the namespace and the image."""
USUAL = {"memory": "1Gi", "cpu": 0.25, "start": 600}
SLOW = "{trainer: mlp, params: {max_iter: 1000000, tol: 0.0, n_iter_no_change: 1000000}}"
OWN = """{{trainer: container, params: {{
  image: '{image}', files: [train.py], command: [env, PYTHONPATH=/app/site, python, train.py]}}}}"""
"""Trained by a program with what its image has: here the pipeline's own, whose libraries it must name."""


def environments(image: str, namespace: str, crews: Crews) -> dict[str, str]:
    """Return overlays: each of the last ones trains another model, in a pod of its own, and reuses all before it."""

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
        "own": train(OWN.format(image=image)),
        **{
            framework: CREW.format(image=own, namespace=crew.name, framework=framework)
            for framework, (crew, own) in crews.items()
        },
    }


def files(namespace: str, crews: Crews) -> dict[str, str]:
    """Return the files of the project."""
    overlays = {f"environments/{name}.yaml": text for name, text in environments(IMAGE, namespace, crews).items()}
    program = (CHECKOUT / "tests" / "isolated" / "train.py").read_text("utf-8")
    return {
        "models/late.yaml": SPEC,
        "models/train.py": program,
        **overlays,
        **{f"data/2013-{month:02d}.csv": rows(month) for month in (1, 2)},
    }


def rows(month: int) -> str:
    lines = (f"{month * 1000 + row},{row * 7 % 100},{row * 7 % 100 - 40 + row % 3}" for row in range(200))
    return "\n".join(["number,distance,delay", *lines]) + "\n"


@pytest.fixture(scope="module")
def crews(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crews]:
    with ExitStack() as stack:
        made = {
            framework: stack.enter_context(with_framework(framework, tmp_path_factory.mktemp(framework)))
            for framework in {"torch", *OWN_IMAGES}
        }
        for own, _ in made.values():
            own.admit_trainer()
        yield made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, crews: Crews) -> Iterator[World]:
    with started(tmp_path_factory.mktemp("pods"), 18281, lambda name: files(name, crews)) as made:
        yield made


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
    assert sorted(pods_of(world, run)) == ["clean", "release"]


def test_a_program_trains_in_the_pod_of_its_own_image_and_what_it_leaves_is_released(world: World) -> None:
    run = world.trigger("own")
    outcome = world.follow(run)
    assert outcome.failures == ()
    assert outcome.released
    assert outcome.results["verify"]["prediction"] in (True, False)
    assert "train: ran in" in world.log(run, "train")


@pytest.mark.parametrize(
    "framework",
    [pytest.param("torch", marks=pytest.mark.extra("torch")), pytest.param("tensorflow", marks=inside("tensorflow"))],
)
def test_a_pod_that_trains_starts_the_pods_of_its_workers_and_none_is_left(
    framework: str, world: World, crews: Crews
) -> None:
    run = world.trigger(framework)
    outcome = world.follow(run)
    assert outcome.failures == ()
    assert {states(outcome)[step] for step in ("train", "evaluate", "release", "verify")} == {"done"}
    assert {"train", "evaluate", "release"} <= set(pods_of(world, run))
    assert "train: ran in" in world.log(run, "train")
    assert "learnt by 2 processes, 1 of them in pods of their own" in world.log(run, "train")
    crews[framework][0].wait_until_empty()


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
    address = f"{world.name(run)}/taskInstances/train"
    world.airflow.request("PATCH", address, json={"new_state": "failed"})
    world.namespace.wait_until_empty(120)


def test_a_pod_of_which_the_triggerer_does_not_hear_that_its_task_was_ended_goes_with_the_run(world: World) -> None:
    run = world.trigger("slow")
    world.namespace.wait_for("Running", "train", 120)
    with world.stopped("triggerer"):
        world.airflow.request("PATCH", f"{world.name(run)}/taskInstances/train", json={"new_state": "failed"})
        world.namespace.wait_until_empty(120)
    assert "removed pod late-train-" in world.log(run, "close")


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
    world.airflow.request("PATCH", f"{world.name(run)}/taskInstances/train", json={"new_state": "failed"})
    world.namespace.wait_until_empty(120)
