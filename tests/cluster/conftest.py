"""A real cluster: a namespace of the test's own, the serving image, a small model, a client that never stops."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.images.building import build
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from tests.conftest import Commit

BUILD = shlex.split(os.environ.get("MODELRAIL_TEST_BUILD", ""))  # further arguments of the builds, such as --isolation
REGISTRY, BASE_IMAGE = os.environ.get("REGISTRY", ""), os.environ.get("BASE_IMAGE", "python:3.11-slim")
REASON = "no cluster: set KUBECONFIG, and REGISTRY to one that its nodes and this machine reach under the same name"

SPEC = """
model: {name: late-flights, trainer: logistic_regression, target: late}
data:
  files: data/{part}.csv
  columns: {delay: float, carrier: str, late: bool}
transform: {carrier: category}
evaluate: {metrics: [accuracy], gate: {accuracy: {at_least: 0.9, behind_champion_at_most: 0.01}}, bootstrap: 0}
"""

CLIENT = """
import collections, http.client, json, threading, time
body, found = %r, collections.Counter()

def ask(keep):
    connection = None
    while True:
        try:
            connection = connection or http.client.HTTPConnection(%r, timeout=10)
            connection.request("POST", "/api/predict", body, {"content-type": "application/x-www-form-urlencoded"})
            answer = connection.getresponse()
            content = answer.read()
            found[json.loads(content)["version"] if answer.status == 200 else f"status {answer.status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            if found:  # until it was answered once, the node may not know the Service yet
                found[repr(error)] += 1
            connection = None
        if connection and not keep:
            connection = connection.close()
        time.sleep(%s)

for keep in (True, True, False, False):
    threading.Thread(target=ask, args=(keep,), daemon=True).start()
while True:
    time.sleep(0.1)
    print(json.dumps(dict(found)), flush=True)
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is here; without a cluster it is skipped, with one line that says how to get one."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if not (os.environ.get("KUBECONFIG") and REGISTRY):
                item.add_marker(pytest.mark.skip(reason=REASON))


def kubectl(namespace: str, *arguments: str, given: str | None = None) -> str:
    """Run kubectl, as a user would, and give what it prints."""
    command = ["kubectl", "--namespace", namespace, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, input=given, check=False, timeout=180)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def serving_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build the serving image and push it; several workers at once build it once."""
    with (tmp_path_factory.getbasetemp().parent / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build("serving", f"{REGISTRY}/modelrail/serving:test", None, BASE_IMAGE, push=True, options=BUILD)


@contextmanager
def made_namespace() -> Iterator[str]:
    """Make a namespace that admits nothing beyond the pod-security standard ``restricted``."""
    own = os.environ["KUBECONFIG"]  # a test may become somebody else
    name = f"modelrail-{uuid.uuid4().hex[:8]}"
    kubectl(name, "create", "namespace", name)
    kubectl(name, "label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    kubectl(name, "delete", "namespace", name, "--wait=false", "--kubeconfig", own)


@pytest.fixture
def namespace() -> Iterator[str]:
    """Make a namespace of the test's own."""
    with made_namespace() as name:
        yield name


@dataclass(frozen=True)
class Project:
    """A repository with the model, and an environment that is the namespace."""

    root: Path
    namespace: str
    commit: Commit

    @property
    def spec(self) -> str:
        return str(self.root / "models/late-flights.yaml")

    def run(self, **changes: Any) -> dict[str, StepResult]:
        _, results = run(RunRequest(self.spec, "kubernetes", **changes), report=lambda _: None)
        return {each.step: each for each in results}

    def configure(self, subject: str = "configure", **deploy: Any) -> None:
        """Change the environment's ``deploy``, and commit it."""
        settings = self.settings | deploy
        self.commit(
            {"environments/kubernetes.yaml": json.dumps({"deploy": settings, "environment": PLATFORM})}, subject
        )

    @property
    def settings(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.root / "environments/kubernetes.yaml").read_text())
        return content["deploy"]  # type: ignore[no-any-return]

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        return kubectl(self.namespace, *arguments, given=given)

    def get(self, *arguments: str) -> Any:
        return json.loads(self.kubectl("get", *arguments, "--output", "json"))


PLATFORM = {"platform": "kubernetes"}


def rows(count: int, flips: int = 0, shift: int = 0) -> str:
    """Write flights whose delay at departure decides; of every hundred, some are flipped."""
    lines = []
    for n in range(count):
        delay = (n * 37 + shift) % 61 - 30
        late = (delay > 0) != (n % 100 < flips)
        lines.append(f"{delay},{'ABC'[n % 3]},{str(late).lower()}")
    return "delay,carrier,late\n" + "\n".join(lines) + "\n"


@pytest.fixture
def flights(
    project: Path, commit: Commit, namespace: str, serving_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Project:
    """Return a small model like the main job's, ready to be run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(project)
    made = Project(project, namespace, commit)
    image = {"base": serving_image, "repository": f"{REGISTRY}/{namespace}"}
    deploy = {"image": image, "namespace": namespace, "ready_within_s": 60}
    commit(
        {
            "models/late-flights.yaml": SPEC,
            "environments/kubernetes.yaml": json.dumps({"deploy": deploy, "environment": PLATFORM}),
            "data/1.csv": rows(600),
            ".gitignore": ".modelrail/\n",
        }
    )
    return made


class Client:
    """A pod that asks the model without end, and counts what it is answered."""

    def __init__(self, project: Project, name: str = "client", pause_s: float = 0.005) -> None:
        self._project, self._name = project, name
        body = json.dumps({"inputs": [[12.0, "A"]]})
        container = {
            "name": "client",
            "image": BASE_IMAGE,
            "command": ["python3", "-c", CLIENT % (body, "late-flights", pause_s)],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        context = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
        spec = {"containers": [container], "securityContext": context, "terminationGracePeriodSeconds": 0}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        project.kubectl("apply", "--filename", "-", given=json.dumps(pod))
        wait_until(self.answered, "the client to be answered")

    def answered(self) -> Mapping[str, int]:
        """Return how often each version, or something else, answered so far."""
        phase = self._project.get("pod", self._name)["status"]["phase"]
        lines = self._project.kubectl("logs", self._name, "--tail=1") if phase == "Running" else ""
        found: dict[str, int] = json.loads(lines or "{}")
        return found

    def stop(self) -> None:
        self._project.kubectl("delete", "pod", self._name, "--now")

    def dropped(self) -> Mapping[str, int]:
        """Return what was answered by no version at all."""
        return {name: count for name, count in self.answered().items() if not name[:1].isdigit()}


@pytest.fixture
def client(flights: Project) -> Callable[..., Client]:
    """Return a function that starts a client, by a name and with a pause between its requests."""
    return lambda *arguments: Client(flights, *arguments)


def bring_type(module: str, path: str, name: str) -> None:
    """Bring a type of somebody else to the cluster, from the Go module that carries its definition."""
    if shutil.which("go") is None:
        pytest.skip(f"no Go, whose modules carry the type {name}: install it")
    command = ["go", "mod", "download", "-json", module]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    kubectl("default", "apply", "--server-side", "--filename", str(Path(json.loads(done.stdout)["Dir"], path)))
    kubectl("default", "wait", f"crd/{name}", "--for=condition=Established")


def wait_until(condition: Callable[[], Any], what: str, within_s: float = 90.0, every_s: float = 0.5) -> Any:
    """Look until something is so; gives it."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every_s)
    raise AssertionError(f"waited {within_s:g} s in vain for {what}")


def modelrail(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in the project, as a program of its own."""
    person = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER")
              for key, value in (("NAME", "Test"), ("EMAIL", "test@example.org"))}  # fmt: skip
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(
        command, cwd=project.root, env=os.environ | person, capture_output=True, text=True, check=False, timeout=300
    )
