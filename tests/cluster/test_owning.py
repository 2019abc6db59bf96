"""Other models and other programs in the same namespace of a real cluster: refused, and left as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.platforms import platform_of
from pipeline.errors import DeploymentError

from .lines import NAME, Line, begin, line_in


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path) -> Line:
    """Return the model with its first release live; what it asks for next is a canary."""
    return begin(namespace, serving_image, tmp_path)


def place(line: Line, name: str, model: str) -> dict[str, Any]:
    """Make a Deployment of the platform's own kind under a name, without pods that pull anything."""
    found = line.get("deployment", NAME)
    labels = {**found["metadata"]["labels"], "app.kubernetes.io/name": model}
    pods = {"app.kubernetes.io/name": model, "modelrail.dev/track": "stable"}
    template = {"metadata": {"labels": pods}, "spec": found["spec"]["template"]["spec"]}
    made = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels, "annotations": {"modelrail.dev/model": model}},
        "spec": {"replicas": 1, "selector": {"matchLabels": pods}, "template": template},
    }
    line.kubectl("apply", "--filename", "-", given=json.dumps(made))
    line.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")
    return state(line, name)


def state(line: Line, name: str) -> dict[str, Any]:
    """Read what a Deployment says and how many pods it has."""
    found = line.get("deployment", name)
    about = {key: found["metadata"][key] for key in ("generation", "labels", "uid")}
    return {**about, "spec": found["spec"], "ready": found["status"]["readyReplicas"]}


def test_a_model_that_is_named_like_a_models_baseline_keeps_its_pods(line: Line) -> None:
    theirs = place(line, f"{NAME}-baseline", f"{NAME}-baseline")
    with pytest.raises(DeploymentError) as caught:
        line.deploy("2.0.0")
    where = f"{line.target.spec.deploy.namespace}/Deployment/{NAME}-baseline"
    said = f"{where}: found it to be of the model {NAME}-baseline in the environment default"
    assert str(caught.value).startswith(said)
    assert line.tracks() == {NAME: 1, f"{NAME}-baseline": 1}
    assert line.live() == "1.0.0"
    assert state(line, f"{NAME}-baseline") == theirs

    made = line.with_deploy(strategy="rolling", canary=None)
    assert made.deploy("2.0.0").version == "2.0.0"
    assert state(line, f"{NAME}-baseline") == theirs, "a release pod by pod has no baseline"
    assert line.dropped() == {}
    platform_of(made.target.spec).stop(made.target)
    assert state(line, f"{NAME}-baseline") == theirs


OTHERS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}},
    {"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": "theirs"}},
    {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"holderIdentity": "them"}},
]


@pytest.mark.parametrize("theirs", OTHERS, ids=lambda each: each["kind"])
def test_what_another_program_has_under_the_models_name_is_not_touched(
    namespace: str, serving_image: str, tmp_path: Path, theirs: dict[str, Any]
) -> None:
    line, kind = line_in(namespace, serving_image, tmp_path), theirs["kind"]
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/managed-by": "Helm"}
    line.kubectl("apply", "--filename", "-", given=json.dumps({**theirs, "metadata": {"name": NAME, "labels": labels}}))
    before = line.get(kind, NAME)
    with pytest.raises(DeploymentError, match=f"{namespace}/{kind}/{NAME}: found a {kind} that Modelrail did not make"):
        line.deploy("1.0.0")
    assert line.get(kind, NAME) == before
    assert line.get("deployments")["items"] == []
