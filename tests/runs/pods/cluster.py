"""A real cluster with what pods need beside it: a Git server, MLflow and an S3 bucket that they reach."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from pipeline.delivery.platforms.kubernetes.access import trainer
from pipeline.orchestration.services.ports import choose_port

NEEDED = ("KUBECONFIG", "NODE_ADDRESS", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "MODELRAIL_PIPELINE_IMAGE")
HOW = f"no cluster for steps in pods: set {', '.join(NEEDED)} (docs/pods.md)"
IMAGE = os.environ.get("MODELRAIL_PIPELINE_IMAGE", "")
_COMPONENT = "app.kubernetes.io/component"


def is_here() -> bool:
    return all(os.environ.get(name) for name in NEEDED) and shutil.which("kubectl") is not None


@dataclass(frozen=True)
class Namespace:
    """A namespace of the test's own, in which only restricted pods may run."""

    name: str

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        command = ["kubectl", "--namespace", self.name, *arguments]
        return subprocess.run(command, input=stdin, check=True, capture_output=True, text=True).stdout

    def pods(self) -> list[dict[str, Any]]:
        return list(json.loads(self.kubectl("get", "pods", "--output", "json"))["items"])

    def pods_of(self, step: str) -> list[dict[str, Any]]:
        """Return the pods that do a step; a namespace may have others."""
        return [pod for pod in self.pods() if pod["metadata"].get("labels", {}).get(_COMPONENT) == step]

    def wait_for(self, phase: str, step: str, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until a step's pod is in a phase."""
        for _ in poll(timeout_s):
            for pod in self.pods_of(step):
                if pod["status"]["phase"] == phase:
                    return pod
        raise AssertionError(f"no {phase} pod of {step}: {[pod['status'] for pod in self.pods()]}")

    def admit_trainer(self) -> None:
        """Make the account of pods that train with others."""
        self.kubectl(
            "apply",
            "--filename",
            "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": trainer(self.name)}),
        )

    def wait_until_empty(self, timeout_s: float = 60) -> None:
        for _ in poll(timeout_s):
            if not self.pods():
                return
        raise AssertionError(f"pods are left: {[pod['metadata']['name'] for pod in self.pods()]}")


def poll(timeout_s: float) -> Iterator[None]:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        yield
        time.sleep(0.2)


@contextmanager
def namespace(level: str = "restricted") -> Iterator[Namespace]:
    """Yield an empty namespace with the secret ``store``; remove it afterwards.

    Parameters
    ----------
    level : str
        Of Kubernetes' pod security.
    """
    here = Namespace(f"pods-{uuid.uuid4().hex[:8]}")
    metadata = {"name": here.name, "labels": {"pod-security.kubernetes.io/enforce": level}}
    labels = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    here.kubectl("apply", "--filename", "-", stdin=json.dumps(labels))
    secrets = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    literals = [f"--from-literal={name}={os.environ[name]}" for name in secrets]
    try:
        here.kubectl("create", "secret", "generic", "store", *literals)
        yield here
    finally:
        here.kubectl("delete", "namespace", here.name, "--wait=false")


@contextmanager
def served(folder: Path, port: int) -> Iterator[Mapping[str, str]]:
    """Serve Git repositories below a folder, and MLflow, to the cluster's node; gives their addresses.

    Parameters
    ----------
    port : int
        The first that may be theirs.
    """
    node = os.environ["NODE_ADDRESS"]
    git_port, mlflow_port = choose_port(port), choose_port(port + 50)
    git = ["git", "daemon", f"--listen={node}", f"--port={git_port}", "--reuseaddr", "--export-all"]
    mlflow = [sys.executable, "-m", "mlflow", "server", "--host", node, "--port", str(mlflow_port), "--workers", "1"]
    mlflow += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--allowed-hosts", "*"]
    mlflow += ["--artifacts-destination", str(folder / "mlartifacts")]
    environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    commands = [[*git, "--enable=receive-pack", f"--base-path={folder}"], mlflow]
    with (folder / "served.log").open("wb") as log:
        started = [
            subprocess.Popen(each, env=environment, stdout=log, stderr=log, start_new_session=True) for each in commands
        ]
    try:
        url = f"http://{node}:{mlflow_port}"
        for _ in poll(90):
            try:
                httpx.get(f"{url}/health", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                continue
        yield {"git": f"git://{node}:{git_port}", "mlflow": url}
    finally:
        for process in started:
            os.killpg(process.pid, 15)
            process.wait(20)
