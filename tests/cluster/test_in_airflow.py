"""Every step of a DAG in pods of a real Airflow, those that deploy and verify too; other pods ask the model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.pods.cluster import HOW, is_here
from tests.pods.world import World, pods_of, started, states

from .conftest import PLATFORM, REGISTRY, SPEC, Client, Project, modelrail, rows, wait_until
from .guarding import LOGIN, guarded

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.extra("pods"),
    pytest.mark.skipif(not is_here(), reason=HOW),
    pytest.mark.filterwarnings("ignore:subprocess .* is still running"),
]
NAME, ENVIRONMENT = "late-flights", "kubernetes"
IMAGE = os.environ.get("MODELRAIL_PIPELINE_IMAGE", "")

ALL = {"where": "pod", "cpu": 0.25, "memory": "1Gi"}
FUSED = ["clean", "transform", "normalize", "train", "evaluate"]


def overlay(namespace: str, serving_image: str, registry_url: str, **run: Any) -> str:
    """Give the environment: its pods reach the registry at another address than its name, and with a login."""
    images = {"base": serving_image, "repository": f"{REGISTRY}/{namespace}", "push_secret": "registry"}
    pods = {
        "image": IMAGE,
        "namespace": namespace,
        "secrets": ["store"],
        "registries": {REGISTRY: registry_url},
        "deployer": "modelrail-deployer",
    }
    deploy = {"push_tags": True, "image": images, "namespace": namespace, "replicas": 2, "ready_within_s": 120}
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
    (task,) = (each for each in world.airflow.list_tasks(NAME, run) if each.task_id == "deploy")
    assert task.try_number == 2, "its pod was gone before it was done"
    wait_until(lambda: client.answered().get("1.0.1", 0) > 20, "twenty answers of the new release")
    assert client.dropped() == {}


def version_of(shared: Deploying) -> str:
    """Give the version that the cluster is to have."""
    notes = shared.project.get("deployment", NAME)["spec"]["template"]["metadata"]["annotations"]
    return str(notes["modelrail.dev/version"])
