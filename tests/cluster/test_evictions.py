"""What a cluster does to pods that serve when their node is drained."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from .conftest import wait_until
from .lines import Line, begin


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path) -> Line:
    """Return the model with two replicas, and a client that never stops."""
    made = begin(namespace, serving_image, tmp_path)
    two = made.with_deploy(strategy="rolling", canary=None, replicas=2)
    two.deploy("1.0.0")
    return two


def serving(line: Line) -> list[str]:
    """Return the names of the pods that are ready and stay."""
    found = line.get("pods", "--selector", "modelrail.dev/track=stable")["items"]
    return [
        each["metadata"]["name"]
        for each in found
        if "deletionTimestamp" not in each["metadata"]
        and any(its["type"] == "Ready" and its["status"] == "True" for its in each["status"].get("conditions", ()))
    ]


def evict(line: Line, pod: str) -> str:
    """Ask for an eviction, as 'kubectl drain' does for each pod of a node; gives what is said."""
    namespace = line.target.spec.deploy.namespace
    asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    where = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    command = ["kubectl", "create", "--raw", where, "--filename", "-"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_a_node_is_drained_one_pod_at_a_time_and_no_request_is_dropped(line: Line) -> None:
    before = wait_until(lambda: len(found := serving(line)) == 2 and found, "two pods")
    first, second = before
    assert '"status":"Success"' in evict(line, first)
    assert "would violate the pod's disruption budget" in evict(line, second)
    wait_until(lambda: len(found := serving(line)) == 2 and first not in found, "another pod in its place")
    wait_until(lambda: '"status":"Success"' in evict(line, second), "the second one's turn")
    wait_until(lambda: len(found := serving(line)) == 2 and not {*found} & {*before}, "two other pods")
    answered = line.answered()["1.0.0"]
    wait_until(lambda: line.answered()["1.0.0"] > answered + 50, "answers of the new pods")
    assert line.dropped() == {}
