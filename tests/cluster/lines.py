"""A model on a cluster whose releases are written by hand, so that they can be as bad as they should."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import onnx

from pipeline.delivery.platforms.kubernetes.access import deployer
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Evidence, Release, Version
from pipeline.spec.schema.spec import Spec
from tests.delivery.rollouts.candidates import SLOPE
from tests.serving.bundles import line_graph, write_bundle

from .conftest import BASE_IMAGE, REGISTRY, kubectl, wait_until

NAME = "line"
CANARY = {
    "steps": [{"weight": 33, "hold_s": 5}],
    "metrics": {"errors": 0.01, "latency": 3.0, "outputs": 0.25},
    "every_s": 2,
    "deadline_s": 180,
}
EVIDENCE = Evidence(
    data_repository=".", data_commit="a" * 40, spec_commit="b" * 40, code="c", spec_path="models/line.yaml",
    environment=None, as_of=None, partitions=1, artifacts={"train": "d"}, model_digest="e", recipe="f", signature={},
    metrics={}, verdict=(), mlflow_run=None, who="Test", why="",
)  # fmt: skip

CLIENT = """
import collections, http.client, json, random, threading, time
found = collections.Counter()

def ask():
    while True:
        connection = http.client.HTTPConnection("line", timeout=20)
        try:
            connection.request("POST", "/api/predict", json.dumps({"inputs": [[random.random()]]}))
            answer = connection.getresponse()
            content = answer.read()
            found[json.loads(content)["version"] if answer.status == 200 else f"status {answer.status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            if found:  # until it was answered once, the node may not know the Service yet
                found[f"dropped: {error!r}"] += 1
        connection.close()
        time.sleep(0.01)

for _ in range(3):
    threading.Thread(target=ask, daemon=True).start()
while True:
    time.sleep(0.2)
    print(json.dumps(dict(list(found.items()))), flush=True)
"""


@dataclass
class Line:
    """A model on the cluster whose releases are written by hand, so that they can be as bad as they should."""

    target: Target
    folder: Path

    def bundle(self, version: str, graph: onnx.ModelProto) -> Path:
        folder = self.folder / version
        return folder if folder.exists() else write_bundle(folder, version=version, graph=graph)

    def deploy(self, version: str, graph: onnx.ModelProto | None = None, **changes: Any) -> Live:
        release = Release(NAME, Version.parse(version), EVIDENCE)
        target = replace(self.target, **changes)
        return platform_of(target.spec).deploy(target, release, self.bundle(version, graph or line_graph(SLOPE)), None)

    def with_deploy(self, **deploy: Any) -> Self:
        """Change what the spec says of its deployment."""
        spec = self.target.spec.model_dump(exclude_unset=True)
        spec["deploy"] |= deploy
        return replace(self, target=replace(self.target, spec=Spec.model_validate(spec)))

    def with_canary(self, **canary: Any) -> Self:
        return self.with_deploy(strategy="canary", canary=CANARY | canary)

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return kubectl(self.target.spec.deploy.namespace, *arguments, given=given)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def live(self) -> str | None:
        found = platform_of(self.target.spec).live(self.target)
        return found.version if found else None

    def tracks(self) -> dict[str, int]:
        found = {each["metadata"]["name"]: each["spec"]["replicas"] for each in self.get("deployments")["items"]}
        return {name: count for name, count in found.items() if count}

    def pods(self, track: str) -> set[str]:
        found = self.get("pods", "--selector", f"modelrail.dev/track={track}")["items"]
        return {each["metadata"]["uid"] for each in found}

    def rollout(self) -> Mapping[str, Any]:
        return rollout_in(self.get("leases"), NAME)[0]

    def answered(self) -> dict[str, int]:
        lines = self.kubectl("logs", "client", "--tail=1")
        found: dict[str, int] = json.loads(lines) if lines.strip() else {}
        return found

    def dropped(self) -> dict[str, int]:
        return {name: count for name, count in self.answered().items() if name.startswith(("dropped", "status 5"))}


def rollout_in(leases: Mapping[str, Any], model: str) -> tuple[Mapping[str, Any], str]:
    """Return what is written down of a model's rollout, and who is at work on it."""
    nothing: Mapping[str, Any] = {"metadata": {}, "spec": {}}
    lease = {each["metadata"]["name"]: each for each in leases["items"]}.get(model, nothing)
    notes = lease["metadata"].get("annotations", {})
    return json.loads(notes.get("modelrail.dev/rollout", "{}")), lease["spec"].get("holderIdentity") or ""


def line_in(namespace: str, serving_image: str, folder: Path) -> Line:
    """Return the model, without any release yet."""
    deploy = {
        "image": {"base": serving_image, "repository": f"{REGISTRY}/{namespace}"},
        "namespace": namespace,
        "ready_within_s": 90,
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
    spec = {"model": {"name": NAME}, "deploy": deploy, "environment": {"platform": "kubernetes"}}
    return Line(Target(Spec.model_validate(spec), None, folder), folder)


def begin(namespace: str, serving_image: str, folder: Path) -> Line:
    """Make the first release live, with a client in the cluster that never stops."""
    made = line_in(namespace, serving_image, folder)
    made.deploy("1.0.0")
    container = {
        "name": "client",
        "image": BASE_IMAGE,
        "command": ["python3", "-c", CLIENT],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    context = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    pod = {"containers": [container], "securityContext": context, "terminationGracePeriodSeconds": 0}
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"}}
    made.kubectl("apply", "--filename", "-", given=json.dumps({**about, "spec": pod}))
    made.kubectl("wait", "pod/client", "--for=condition=Ready", "--timeout=60s")
    wait_until(lambda: made.answered().get("1.0.0", 0) > 20, "twenty answers")
    return made.with_canary()


def as_deployer(line: Line) -> Path:
    """Make the account that may deploy and nothing else; gives its kubeconfig."""
    rights = {"apiVersion": "v1", "kind": "List", "items": deployer(line.target.spec.deploy.namespace)}
    line.kubectl("apply", "--filename", "-", given=json.dumps(rights))
    config = json.loads(line.kubectl("config", "view", "--raw", "--minify", "--flatten", "--output", "json"))
    config["users"][0]["user"] = {"token": line.kubectl("create", "token", "modelrail-deployer").strip()}
    path = line.folder / "deployer.json"
    path.write_text(json.dumps(config))
    return path
