"""Releases that Argo Rollouts takes step by step, on a real cluster, with its real controller and a real Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.delivery.platforms.kubernetes.cluster import Cluster, open_cluster
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.releases import Release, Version
from pipeline.delivery.stages import stages
from pipeline.errors import AbortedError, DeploymentError, TransientError
from pipeline.storage.git.repository import open_repository
from tests.delivery.rollouts.candidates import SLOPE, erring_graph, slow_graph
from tests.serving.bundles import line_graph

from .conftest import Project, modelrail, rows, wait_until
from .lines import EVIDENCE, NAME, Line, as_deployer, begin
from .test_canaries import corrupt, start

REASON = "no Argo Rollouts: install its types and its controller in the cluster that KUBECONFIG names"


def has_argo() -> bool:
    if "KUBECONFIG" not in os.environ:
        return False
    asked = ["kubectl", "get", "crd", "rollouts.argoproj.io"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.skipif(not has_argo(), reason=REASON),
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="no Prometheus: 'apt install prometheus'"),
]


@contextmanager
def followed(namespace: str, targets: Path) -> Iterator[None]:
    """Keep a file that names the namespace's model pods, with what a ServiceMonitor would have Prometheus add."""
    over = threading.Event()

    def follow(cluster: Cluster) -> None:
        while not over.is_set():
            with suppress(TransientError):
                pods = cluster.list("v1", "Pod", {"app.kubernetes.io/managed-by": "modelrail"})
                temporary = targets.with_suffix(".new")
                temporary.write_text(json.dumps([target_of(each) for each in pods if each["status"].get("podIP")]))
                temporary.replace(targets)
            over.wait(0.5)

    with open_cluster(None, namespace) as cluster:
        thread = threading.Thread(target=follow, args=(cluster,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


def target_of(pod: dict[str, Any]) -> dict[str, Any]:
    labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
    return {"targets": [f"{pod['status']['podIP']}:8080"], "labels": labels}


@pytest.fixture
def prometheus(namespace: str, tmp_path: Path) -> Iterator[str]:
    """Yield the address of a Prometheus that scrapes the namespace's model pods."""
    targets = tmp_path / "targets.json"
    job = {"job_name": "models", "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "1s"}]}
    settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (tmp_path / "prometheus.json").write_text(json.dumps(settings))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = ["prometheus", f"--config.file={tmp_path / 'prometheus.json'}", f"--web.listen-address={address}",
               f"--storage.tsdb.path={tmp_path / 'tsdb'}"]  # fmt: skip
    with (
        followed(namespace, targets),
        (tmp_path / "prometheus.log").open("w") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        wait_until(lambda: answers(f"http://{address}/-/ready"), "Prometheus")
        yield f"http://{address}"
        process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class ArgoLine(Line):
    """The line of the other tests, by Argo."""

    def by(self, strategy: str, **canary: Any) -> ArgoLine:
        return self.with_deploy(strategy=strategy, canary=canary or None, replicas=2)

    def pods_of(self, version: str) -> set[str]:
        selector = f"modelrail.dev/version={version},modelrail.dev/track=rollout"
        found = self.get("pods", "--selector", selector)["items"]
        return {each["metadata"]["uid"] for each in found if "deletionTimestamp" not in each["metadata"]}


def settings(prometheus: str, **changes: Any) -> dict[str, Any]:
    canary = {
        "steps": [{"weight": 50, "hold_s": 5}],
        "metrics": {"errors": 0.01, "latency": 3.0, "outputs": 0.25},
        "min_requests": 200,
        "every_s": 2,
        "deadline_s": 180,
        "prometheus": prometheus,
    }
    return canary | changes


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path, prometheus: str) -> ArgoLine:
    """Return the model with its first release live by a Deployment, and a client that never stops."""
    return ArgoLine(begin(namespace, serving_image, tmp_path).target, tmp_path).by(
        "argo-rollouts", **settings(prometheus)
    )


BAD = (
    ("3.0.0", erring_graph(), "errors"),
    ("4.0.0", line_graph(1.5 * SLOPE), "outputs"),
    ("6.0.0", slow_graph(), "latency"),
    ("5.0.0", None, "ends again and again, exit code 1"),
)


def test_argo_promotes_a_good_release_aborts_bad_ones_and_a_rollback_is_at_once(line: ArgoLine) -> None:
    made = line.deploy("1.0.0")
    assert made.version == "1.0.0"
    assert line.tracks() == {}, "its pods are no Deployment's any more"
    assert len(line.pods_of("1.0.0")) == 2
    release = Release(NAME, Version.parse("1.0.0"), EVIDENCE)
    assert platform_of(line.target.spec).differences(line.target, release, made.image) == []

    promoted = line.deploy("2.0.0")
    assert (promoted.version, promoted.replaced, line.live()) == ("2.0.0", "1.0.0", "2.0.0")
    runs = line.get("analysisruns")["items"]
    assert {each["status"]["phase"] for each in runs} == {"Successful"}, "it was looked at"
    assert line.pods_of("1.0.0") == set()

    pods = line.pods_of("2.0.0")
    corrupt(line, "5.0.0")
    for version, graph, why in BAD:
        with pytest.raises(AbortedError, match=rf"line@v{version}: aborted: .*{why}.*; v2.0.0 stays live") as caught:
            line.deploy(version, graph)
        assert caught.value.stable == "line@v2.0.0"
        assert line.live() == "2.0.0"
        wait_until(lambda version=version: not line.pods_of(version), "the candidate's pods to be gone")

    assert pods & line.pods_of("2.0.0"), "one of the stable pods was never touched"

    assert line.deploy("1.0.0", at_once=True).version == "1.0.0"
    assert len(line.pods_of("1.0.0")) == 2
    assert platform_of(line.target.spec).differences(line.target, release, made.image) == [], "with its steps again"
    assert line.dropped() == {}
    platform_of(line.target.spec).stop(line.target)
    kinds = "deployments,rollouts,analysistemplates,services,poddisruptionbudgets,leases"
    assert line.get(kinds)["items"] == []


def test_a_killed_deploy_is_brought_to_its_end_by_the_next_and_another_strategy_takes_over(line: ArgoLine) -> None:
    line.deploy("1.0.0")
    kubeconfig = as_deployer(line)
    with start(line, "2.0.0", kubeconfig=kubeconfig) as process:
        wait_until(lambda: line.pods_of("2.0.0"), "the candidate's pods")
        os.kill(process.pid, signal.SIGKILL)
    assert line.live() == "1.0.0", "the stable pods are still those"
    with start(line, "2.0.0", kubeconfig=kubeconfig) as process:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert line.live() == "2.0.0"
    rolling = line.by("rolling")
    assert rolling.deploy("2.0.0").version == "2.0.0"
    wait_until(lambda: not line.pods_of("2.0.0"), "Argo's pods to be gone")
    assert rolling.tracks() == {NAME: 2}
    assert line.dropped() == {}


def test_without_requests_argo_aborts_at_the_deadline_and_that_is_written_to_git_and_held(
    flights: Project, prometheus: str
) -> None:
    canary = settings(prometheus, metrics={"errors": 0.01}, min_requests=10_000_000, deadline_s=10)
    flights.configure(replicas=2, strategy="argo-rollouts", canary=canary)
    assert flights.run()["deploy"].action == "ran"
    printed = modelrail(flights, "manifests", "late-flights").stdout
    assert "kind: Rollout\n" in printed
    assert "kind: AnalysisTemplate\n" in printed
    flights.commit({"data/2.csv": rows(600, shift=3)}, "more flights")
    with pytest.raises(DeploymentError, match=r"aborted: .*v1\.0\.0 stays live"):
        flights.run()
    assert [each.action for each in stages(open_repository(flights.root), "late-flights")][-1] == "abort"
    assert flights.run()["deploy"].action != "ran", "what was aborted is held"
