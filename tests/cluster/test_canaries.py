"""Canaries on a real cluster: candidates that are bad in their own ways, a client that never stops, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from pipeline.deployment.kubernetes import Kubernetes
from pipeline.deployment.platforms import Live, Target
from pipeline.errors import AbortedError, DeploymentError, TransientError
from pipeline.release import Evidence, Release, Version
from pipeline.serving.workers import child_environment
from pipeline.spec.schema import Spec
from tests.rollouts.candidates import SLOPE, erring_graph, slow_graph
from tests.serving.bundles import line_graph, write_bundle

from .conftest import BASE_IMAGE, REGISTRY, kubectl, wait_until
from .cutting import cut_off

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
        return Kubernetes().deploy(target, release, self.bundle(version, graph or line_graph(SLOPE)), None)

    def with_canary(self, **canary: Any) -> Line:
        spec = self.target.spec.model_dump(exclude_unset=True)
        spec["deploy"] |= {"strategy": "canary", "canary": CANARY | canary}
        return replace(self, target=replace(self.target, spec=Spec.model_validate(spec)))

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return kubectl(self.target.spec.deploy.namespace, *arguments, given=given)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))

    def live(self) -> str | None:
        found = Kubernetes().live(self.target)
        return found.version if found else None

    def tracks(self) -> dict[str, int]:
        found = {each["metadata"]["name"]: each["spec"]["replicas"] for each in self.get("deployments")["items"]}
        return {name: count for name, count in found.items() if count}

    def pods(self, track: str) -> set[str]:
        found = self.get("pods", "--selector", f"modelrail.dev/track={track}")["items"]
        return {each["metadata"]["uid"] for each in found}

    def rollout(self) -> Mapping[str, Any]:
        leases = {each["metadata"]["name"]: each for each in self.get("leases")["items"]}
        notes = leases.get(NAME, {"metadata": {}})["metadata"].get("annotations", {})
        written: Mapping[str, Any] = json.loads(notes.get("modelrail.dev/rollout", "{}"))
        return written

    def answered(self) -> dict[str, int]:
        lines = self.kubectl("logs", "client", "--tail=1")
        found: dict[str, int] = json.loads(lines) if lines.strip() else {}
        return found

    def dropped(self) -> dict[str, int]:
        return {name: count for name, count in self.answered().items() if name.startswith(("dropped", "status 5"))}


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path) -> Line:
    """Give the model with its first release live, and a client in the cluster that never stops."""
    deploy = {
        "image": {"base": serving_image, "repository": f"{REGISTRY}/{namespace}"},
        "namespace": namespace,
        "ready_within_s": 90,
        "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    }
    spec = {"model": {"name": NAME}, "deploy": deploy, "environment": {"platform": "kubernetes"}}
    made = Line(Target(Spec.model_validate(spec), None, tmp_path), tmp_path)
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


def corrupt(line: Line, version: str) -> None:
    """Write a release whose server ends at once: its graph is not the one that was released."""
    bundle = line.bundle(version, line_graph(SLOPE))
    (bundle / "model.onnx").write_bytes(b"broken")


def test_a_good_candidate_is_promoted_and_no_request_is_dropped(line: Line) -> None:
    made = line.deploy("2.0.0")
    assert (made.version, made.replaced) == ("2.0.0", "1.0.0")
    assert line.tracks() == {NAME: 1}
    assert line.rollout() == {}
    wait_until(lambda: line.answered()["2.0.0"] > 300, "answers of the new release")
    assert line.dropped() == {}


@pytest.mark.parametrize(
    ("graph", "why"),
    [(slow_graph(), "latency: "), (erring_graph(), "errors: "), (line_graph(1.2 * SLOPE), "outputs: ")],
    ids=["slow", "erring", "lying"],
)
def test_a_bad_candidate_is_aborted_and_what_is_live_is_untouched(line: Line, graph: onnx.ModelProto, why: str) -> None:
    stable = line.pods("stable")
    with pytest.raises(AbortedError, match=rf"line@v2.0.0: aborted: {why}.*; v1.0.0 stays live"):
        line.deploy("2.0.0", graph)
    assert line.pods("stable") == stable
    assert line.tracks() == {NAME: 1}
    assert line.live() == "1.0.0"
    assert line.dropped() == {}
    assert line.answered()["2.0.0"] > 100, "it was asked"


def test_a_candidate_that_ends_again_and_again_is_aborted_before_it_is_asked(line: Line) -> None:
    stable = line.pods("stable")
    corrupt(line, "2.0.0")
    with pytest.raises(AbortedError, match=r"aborted: pod line-canary-.*ends again and again"):
        line.deploy("2.0.0")
    assert line.pods("stable") == stable
    assert line.tracks() == {NAME: 1}
    assert set(line.answered()) == {"1.0.0"}


def test_a_weight_that_pods_cannot_reach_is_an_error_and_nothing_is_started(line: Line) -> None:
    with pytest.raises(AbortedError, match=r"found the weight 10; expected a weight that 1 stable pod leaves room for"):
        line.with_canary(steps=[{"weight": 10}]).deploy("2.0.0")
    assert line.tracks() == {NAME: 1}
    assert set(line.answered()) == {"1.0.0"}


def shadowed(line: Line) -> Line:
    """Let candidates be asked, but not answer."""
    given = line.with_canary(steps=[{"weight": 50, "hold_s": 5}], metrics={"errors": 0.01, "outputs": 0.25}).target
    spec = given.spec.model_dump(exclude_unset=True)
    spec["deploy"] |= {"strategy": "shadow"}
    return replace(line, target=replace(given, spec=Spec.model_validate(spec)))


def test_a_shadow_is_asked_too_and_promoted_without_a_dropped_request(line: Line) -> None:
    assert shadowed(line).deploy("2.0.0").replaced == "1.0.0"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_a_lying_shadow_is_aborted_and_has_answered_nobody(line: Line) -> None:
    stable = line.pods("stable")
    with pytest.raises(AbortedError, match=r"aborted: outputs: .*; v1.0.0 stays live"):
        shadowed(line).deploy("2.0.0", line_graph(1.2 * SLOPE))
    assert line.pods("stable") == stable
    assert line.tracks() == {NAME: 1}
    assert set(line.answered()) == {"1.0.0"}


def start(
    line: Line, version: str, graph: onnx.ModelProto | None = None, kubeconfig: Path | None = None
) -> subprocess.Popen[bytes]:
    """Deploy in a process of its own, which can be killed."""
    code = """
import sys
from pathlib import Path
from tests.cluster.test_canaries import *
from pipeline.errors import ModelrailError
spec, folder, version = Spec.model_validate_json(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
try:
    Line(Target(spec, None, folder), folder).deploy(version)
except ModelrailError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
    line.bundle(version, graph or line_graph(SLOPE))
    spec = line.target.spec.model_dump_json(exclude_unset=True)
    command = [sys.executable, "-c", code, spec, str(line.folder), version]
    environment = child_environment() | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
    return subprocess.Popen(command, cwd=Path(__file__).parents[2], env=environment, stderr=subprocess.PIPE)


def test_a_killed_deploy_is_taken_over_where_it_was_and_two_never_interleave(line: Line) -> None:
    with start(line, "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        with pytest.raises(
            TransientError, match=r"line: found another deploy at work \(.*\); expected it to end first"
        ):
            line.deploy("3.0.0")
        os.kill(process.pid, signal.SIGKILL)
    left = line.rollout()
    assert (left["candidate"], left["verdict"]) == ("line@v2.0.0", None)
    assert line.tracks() == {NAME: 1, f"{NAME}-canary": 1, f"{NAME}-baseline": 1}
    canaries = line.pods("canary")
    seen: list[set[str]] = []
    watching = threading.Event()

    def watch() -> None:
        while not watching.wait(1):
            seen.append(line.pods("canary"))

    thread = threading.Thread(target=watch)
    thread.start()
    assert line.deploy("2.0.0").version == "2.0.0"
    watching.set()
    thread.join()
    assert canaries in seen, "the same canary went on"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_a_killed_deploy_is_aborted_by_the_deadline_or_by_a_deploy_of_another_release(line: Line) -> None:
    with start(line.with_canary(deadline_s=8, min_requests=100_000), "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(AbortedError, match="when the deadline of 8 s was over"):
        line.with_canary(deadline_s=8, min_requests=100_000).deploy("2.0.0")
    assert line.tracks() == {NAME: 1}
    with start(line.with_canary(min_requests=100_000), "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        os.kill(process.pid, signal.SIGKILL)
    assert line.deploy("3.0.0").replaced == "1.0.0"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}


def test_a_rollback_in_the_middle_ends_the_canary_within_seconds(line: Line) -> None:
    with start(line.with_canary(min_requests=100_000), "2.0.0") as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        line.deploy("1.0.0", at_once=True)
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "found that it must give way: line@v1.0.0 is made live at once" in said
    assert line.tracks() == {NAME: 1}
    assert line.rollout() == {}
    assert line.live() == "1.0.0"
    assert line.dropped() == {}


def test_without_requests_it_is_aborted_at_the_deadline(line: Line) -> None:
    line.kubectl("delete", "pod", "client", "--wait=true")
    with pytest.raises(DeploymentError, match=r"0 of 200 requests were answered in the step when the deadline of 10 s"):
        line.with_canary(deadline_s=10).deploy("2.0.0")
    assert line.tracks() == {NAME: 1}


@pytest.mark.parametrize(
    ("stage", "graph", "ends"),
    [
        (lambda line: "line-canary" in line.tracks(), line_graph(SLOPE), "promoted"),
        (lambda line: line.rollout().get("verdict") == "promote", line_graph(SLOPE), "promoted"),
        (lambda line: line.rollout().get("verdict") == "abort", line_graph(1.2 * SLOPE), "aborted"),
    ],
    ids=["coming up", "promoting", "aborting"],
)
def test_a_deploy_killed_at_any_stage_is_brought_to_its_end_by_the_next(
    line: Line, stage: Callable[[Line], bool], graph: onnx.ModelProto, ends: str
) -> None:
    with start(line, "2.0.0", graph) as process:
        wait_until(lambda: stage(line), "the stage")
        os.kill(process.pid, signal.SIGKILL)
    if ends == "promoted":
        assert line.deploy("2.0.0").version == "2.0.0"
    else:
        with pytest.raises(AbortedError, match="aborted: outputs"):
            line.deploy("2.0.0")
    assert line.tracks() == {NAME: 1}
    assert line.rollout() == {}
    assert line.live() == ("2.0.0" if ends == "promoted" else "1.0.0")
    assert line.dropped() == {}


def test_a_canary_goes_on_after_the_api_server_was_away_for_half_a_minute(line: Line, tmp_path: Path) -> None:
    with cut_off(tmp_path) as (kubeconfig, cut), start(line, "2.0.0", kubeconfig=kubeconfig) as process:
        wait_until(lambda: line.rollout().get("step") == 0, "the first step")
        cut.set()
        threading.Event().wait(1)
        left = line.get("lease", NAME)["metadata"]["resourceVersion"]
        threading.Event().wait(30)
        assert line.get("lease", NAME)["metadata"]["resourceVersion"] == left, "it was cut off"
        assert process.poll() is None
        cut.clear()
        assert process.wait(120) == 0, process.stderr and process.stderr.read()
    assert line.live() == "2.0.0"
    assert line.tracks() == {NAME: 1}
    assert line.dropped() == {}
