"""Seconds that a release takes to a cluster: its layer in the registry, its pods Ready, a rollback.

Needs KUBECONFIG, a registry that this machine and the cluster's nodes know by one name, and the serving image in it. A
layer is compared with what people do otherwise: a Dockerfile of two lines, built and pushed by Buildah.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from benchmarks.measuring import interleave, say, say_machine
from pipeline.delivery.images.packaging import package
from pipeline.delivery.promotion import promote, rollback
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run

SIZE = 10_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", default=os.environ.get("REGISTRY"), required="REGISTRY" not in os.environ)
    parser.add_argument("--base", required=True, help="the serving image, as HOST/NAME:TAG")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    say_machine(("httpx",))
    with tempfile.TemporaryDirectory() as folder:
        measure_layers(options.base, f"{options.registry}/benchmark", options.runs, Path(folder))
        measure_deployments(options.base, f"{options.registry}/benchmark", options.runs, Path(folder))


def measure_layers(base: str, repository: str, runs: int, folder: Path) -> None:
    """Push a model of 10 MB as a layer, again, and as an image that is built."""
    bundle = folder / "model"
    bundle.mkdir()
    context = folder / "Dockerfile"
    context.write_text(f"FROM {base}\nCOPY model /model\n")

    def push() -> None:
        package(bundle, base, f"{repository}/layer", "v1", {})

    def build() -> None:
        tag = f"{repository}/built:v1"
        for command in (
            ["buildah", "build", "--quiet", "--tls-verify=false", "--tag", tag, str(folder)],
            ["buildah", "push", "--quiet", "--tls-verify=false", tag],
        ):
            subprocess.run(command, check=True, capture_output=True)

    def renewed(action: Callable[[], None]) -> Callable[[], float]:
        def measured() -> float:
            (bundle / "model.onnx").write_bytes(os.urandom(SIZE))
            return timed(action)

        return measured

    push()
    actions = {"one layer": renewed(push), "the same again": lambda: timed(push), "buildah": renewed(build)}
    say("A model of 10 MB as an image in the registry", interleave(actions, runs), against="one layer")


def measure_deployments(base: str, repository: str, runs: int, folder: Path) -> None:
    """Deploy two releases for the first time, then roll back and promote in turn."""
    namespace, project = f"benchmark-{uuid.uuid4().hex[:6]}", folder / "project"
    deploy = {"namespace": namespace, "image": {"base": base, "repository": repository}, "replicas": 2}
    write(project / "environments/cluster.yaml", {"deploy": deploy, "environment": {"platform": "kubernetes"}})
    write(project / ".gitignore", None)
    os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    os.chdir(project)
    subprocess.run(["kubectl", "create", "namespace", namespace], check=True, stdout=subprocess.DEVNULL)
    try:
        first = [deploy_release(project, epochs) for epochs in (50, 60)]
        say("Deploy: packaged, recorded, applied, until both pods serve", {"a new release": first})
        why = "to measure it"
        actions = {
            "rollback": lambda: rollback("line", None, "cluster", why=why).seconds,
            "promote": lambda: promote("line", "v1.1.0", "cluster", why=why).seconds,
        }
        say("Its image is on the node, until it has answered", interleave(actions, runs))
    finally:
        subprocess.run(["kubectl", "delete", "namespace", namespace, "--wait=false"], check=True)


def deploy_release(project: Path, epochs: int) -> float:
    """Train another model, and give the seconds that its deployment took."""
    write(
        project / "models/line.yaml",
        {"model": {"name": "line", "trainer": "LinearRegression", "params": {"epochs": epochs}}},
    )
    person = ["-c", "user.name=Benchmark", "-c", "user.email=benchmark@example.org"]
    subprocess.run(["git", "add", "--all"], check=True)
    subprocess.run(["git", *person, "commit", "--quiet", "--message", f"{epochs} epochs"], check=True)
    _, results = run(RunRequest("models/line.yaml", "cluster"), report=lambda _: None)
    return next(each.seconds for each in results if each.step == "deploy")


def write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content) if content else ".modelrail/\n")


def timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
