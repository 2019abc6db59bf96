"""Every step of a DAG in pods of a real Airflow, those that deploy and verify too; other pods ask the model."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.cluster import open_cluster
from pipeline.delivery.platforms.kubernetes.leases import COORDINATION
from pipeline.delivery.stages import stages
from pipeline.storage.git.repository import open_repository
from tests.runs.pods.cluster import HOW, is_here
from tests.runs.pods.world import World, pods_of, started, states

from .conftest import PLATFORM, REGISTRY, SPEC, Client, Project, modelrail, rows, wait_until
from .guarding import LOGIN, guarded
from .killing import killing
from .lines import rollout_in

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(not is_here(), reason=HOW),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running"),
]
NAME, ENVIRONMENT = "late-flights", "kubernetes"
IMAGE = os.environ.get("MODELRAIL_PIPELINE_IMAGE", "")

ALL = {"where": "pod", "cpu": 0.25, "memory": "1Gi"}
FUSED = ["clean", "transform", "normalize", "train", "evaluate"]


CANARY = {
    "steps": [{"weight": 25, "hold_s": 15}],
    "metrics": {"errors": 0.01, "outputs": 0.25},
    "min_requests": 50,
    "every_s": 1,
    "deadline_s": 900,
}


def overlay(namespace: str, serving_image: str, registry_url: str, canary: object = None, **run: Any) -> str:
    """Return the environment: its pods reach the registry at another address than its name, and with a login."""
    images = {"base": serving_image, "repository": f"{REGISTRY}/{namespace}", "push_secret": "registry"}
    pods = {
        "image": IMAGE,
        "namespace": namespace,
        "secrets": ["store"],
        "registries": {REGISTRY: registry_url},
        "deployer": "modelrail-deployer",
    }
    deploy = {"push_tags": True, "image": images, "namespace": namespace, "replicas": 2, "ready_within_s": 120}
    deploy |= {"strategy": "canary", "canary": canary} if canary else {}
    return json.dumps({"run": pods | run, "deploy": deploy, "environment": PLATFORM})


@dataclass(frozen=True)
class Deploying:
    """What the tests share: the world, and the environment of its cluster with another section ``run``."""

    world: World
    overlay: Callable[..., str]

    @property
    def project(self) -> Project:
        return Project(self.world.project, self.world.namespace.name, lambda *_: "")


@pytest.fixture(scope="module")
def shared(serving_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deploying]:
    with guarded(REGISTRY) as url:

        def files(namespace: str) -> Mapping[str, str]:
            every = overlay(namespace, serving_image, url, default=ALL, fuse=FUSED)
            return {f"models/{NAME}.yaml": SPEC, f"environments/{ENVIRONMENT}.yaml": every, "data/1.csv": rows(600)}

        with started(tmp_path_factory.mktemp("deploying"), 18481, files) as world:
            made = Deploying(world, partial(overlay, world.namespace.name, serving_image, url))
            grant(made)
            yield made


def grant(shared: Deploying) -> None:
    """Make the secret with the registry's login, and the account that deploys."""
    login = json.dumps({"auths": {REGISTRY: {"auth": LOGIN}}})
    secret = ("--type=kubernetes.io/dockerconfigjson", f"--from-literal=.dockerconfigjson={login}")
    kubectl = shared.world.namespace.kubectl
    kubectl("create", "secret", "generic", "registry", *secret)
    objects = modelrail(shared.project, "manifests", NAME, "--environment", ENVIRONMENT, "--access").stdout
    kubectl("apply", "--filename", "-", stdin=objects)


def test_every_step_is_in_a_pod_and_the_model_answers_another_pod(shared: Deploying) -> None:
    world = shared.world
    run = world.trigger(ENVIRONMENT)
    outcome = world.follow(run)
    assert outcome.failures == ()
    assert set(states(outcome).values()) == {"done"}
    pods = pods_of(world, run)
    assert sorted(pods) == ["clean", "deploy", "release", "verify"], "the steps between share the first one's pod"
    assert outcome.results["deploy"]["address"] == f"http://{NAME}.{world.namespace.name}.svc"
    assert outcome.results["deploy"]["image"].startswith(f"{REGISTRY}/{world.namespace.name}/{NAME}@sha256:")

    client = Client(shared.project)
    wait_until(lambda: client.answered().get("1.0.0", 0) > 20, "twenty answers")
    assert client.dropped() == {}
    client.stop()
    assert {pod["metadata"]["name"] for pod in world.namespace.pods()} & set(pods.values()) == set()


def test_a_deploy_pod_that_is_killed_in_mid_rollout_is_tried_again_and_drops_nothing(shared: Deploying) -> None:
    world, client = shared.world, Client(shared.project, "asking")
    alone = shared.overlay(deploy=ALL)
    world.commit({"data/2.csv": rows(600, shift=3), f"environments/{ENVIRONMENT}.yaml": alone}, "more flights")
    run = world.trigger(ENVIRONMENT)
    wait_until(lambda: version_of(shared) == "1.0.1", "the new release to be applied", 180)
    (deploying,) = world.namespace.pods_of("deploy")
    world.namespace.kubectl("delete", "pod", deploying["metadata"]["name"], "--force", "--grace-period=0")
    outcome = world.follow(run)
    assert outcome.failures == ()
    assert outcome.results["verify"]["version"] == "1.0.1"
    assert tries(world, run) == 2, "its pod was gone before it was done"
    wait_until(lambda: client.answered().get("1.0.1", 0) > 20, "twenty answers of the new release")
    assert client.dropped() == {}
    client.stop()


Stage = Callable[[], object]
Kill = Callable[[dict[str, Any]], None]


def kill_in(
    shared: Deploying, kill: Kill, what: str, verdict: str | None, stage: Stage | None = None, but: str = ""
) -> str:
    """Kill the process of the pod that deploys, when the rollout has that verdict and is its own; gives the pod's name.

    Parameters
    ----------
    stage : callable, optional
        Tells whether it is also as far as wanted.
    but : str
        Name of the pod that was killed before.
    """
    world, project = shared.world, shared.project

    def found() -> dict[str, Any] | None:
        pods = [pod for pod in world.namespace.pods_of("deploy") if pod["status"]["phase"] == "Running"]
        return next((pod for pod in pods if pod["metadata"]["name"] != but), None)

    victim = wait_until(found, "a pod that deploys", 300)
    name = str(victim["metadata"]["name"])

    def reached() -> bool:
        found = cluster.get(COORDINATION, "Lease", NAME)
        written, holder = rollout_in({"items": [found] if found else []}, NAME)
        mine = bool(written) and holder.startswith(name) and written["verdict"] == verdict
        return mine and (stage is None or bool(stage()))

    with open_cluster(None, project.namespace) as cluster:  # kubectl may look too seldom: an abort is over in a second
        wait_until(reached, f"the stage: {what}", 300, every_s=0.05)
    kill(victim)
    return name


def test_a_canary_whose_deploy_is_killed_in_a_step_and_promoting_is_promoted_and_drops_nothing(
    shared: Deploying,
) -> None:
    world, project, client = shared.world, shared.project, Client(shared.project, "steady")
    before, overlaid = version_of(shared), shared.overlay(canary=CANARY, deploy=ALL)
    world.commit({"data/3.csv": rows(600, shift=6), f"environments/{ENVIRONMENT}.yaml": overlaid}, "yet more flights")
    run = world.trigger(ENVIRONMENT)
    with killing() as kill:
        first = kill_in(shared, kill, "in a step", None, lambda: set(client.answered()) > {before})
        canary = uids(project, "canary")
        kill_in(shared, kill, "promoting", "promote", but=first)
        assert uids(project, "canary") == canary, "the same canary went on"
    outcome = world.follow(run)
    assert outcome.failures == ()
    assert tries(world, run) == 3, "each kill cost one"
    assert outcome.results["verify"]["version"] == version_of(shared) != before
    assert (tracks(project), written(project)) == ({NAME}, {})
    assert client.dropped() == {}
    client.stop()


def test_a_canary_whose_deploy_is_killed_coming_up_and_aborting_is_aborted_and_drops_nothing(
    shared: Deploying,
) -> None:
    world, project, client = shared.world, shared.project, Client(shared.project, "firm")
    before, overlaid = version_of(shared), shared.overlay(canary=CANARY, deploy=ALL)
    contrary = {f"data/{number}.csv": rows(600, flips=100, shift=3 * number) for number in (1, 2, 3)}
    world.commit({**contrary, f"environments/{ENVIRONMENT}.yaml": overlaid}, "flights that contradict the others")
    run = world.trigger(ENVIRONMENT)
    with killing() as kill:
        first = kill_in(shared, kill, "coming up", None, lambda: f"{NAME}-canary" in tracks(project))
        assert set(client.answered()) == {before}
        kill_in(shared, kill, "aborting", "abort", but=first)
    (failure,) = world.follow(run).failures
    assert failure.task == "deploy"
    assert re.search(rf"aborted: outputs: .*; v{before} stays live", failure.message)
    assert tries(world, run) == 3, "each kill cost one"
    assert version_of(shared) == before
    assert (tracks(project), written(project)) == ({NAME}, {})
    last = stages(open_repository(world.project.parent / "origin.git"), NAME)[-1]
    assert (last.action, str(last.version)) == ("abort", before)
    assert client.dropped() == {}
    client.stop()


def written(project: Project) -> Mapping[str, Any]:
    return rollout_in(project.get("leases"), NAME)[0]


def tracks(project: Project) -> set[str]:
    """Return the model's Deployments that have pods."""
    return {each["metadata"]["name"] for each in project.get("deployments")["items"] if each["spec"]["replicas"]}


def uids(project: Project, track: str) -> set[str]:
    found = project.get("pods", "--selector", f"modelrail.dev/track={track}")["items"]
    return {each["metadata"]["uid"] for each in found}


def tries(world: World, run: str) -> int:
    (task,) = (each for each in world.airflow.list_tasks(NAME, run) if each.task_id == "deploy")
    return task.try_number


def version_of(shared: Deploying) -> str:
    """Return the version that the cluster is to have."""
    notes = shared.project.get("deployment", NAME)["spec"]["template"]["metadata"]["annotations"]
    return str(notes["modelrail.dev/version"])
