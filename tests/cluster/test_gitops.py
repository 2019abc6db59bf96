"""Releases that Argo CD makes live, on a real cluster with a real Argo CD."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DeploymentError
from tests.conftest import git

from .conftest import Project, kubectl, modelrail, rows, wait_until

NAME = "late-flights"
REASON = "no Argo CD: install it in the namespace argocd of the cluster that KUBECONFIG names"
APPLICATION = f"kubernetes-{NAME}"


def has_argocd() -> bool:
    if "KUBECONFIG" not in os.environ:
        return False
    asked = ["kubectl", "get", "crd", "applications.argoproj.io"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0


needs_argocd = pytest.mark.skipif(not has_argocd(), reason=REASON)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """Return an empty repository."""
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "deployments.git")
    return tmp_path / "deployments.git"


@pytest.fixture
def deployments(flights: Project, bare: Path) -> Iterator[Path]:
    """Yield a deployment repository that an application of Argo CD follows."""
    gitops = {"repository": bare.as_uri(), "synced_within_s": 120}
    flights.configure(mode="gitops", gitops=gitops, replicas=2)
    with pytest.raises(
        DeploymentError, match=rf"found no application argocd/{APPLICATION}; expected it: 'modelrail mani"
    ):
        flights.run()
    printed = modelrail(flights, "manifests", NAME, "--environment", "kubernetes", "--application")
    assert printed.returncode == 0, printed.stderr
    kubectl("argocd", "apply", "--filename", "-", given=printed.stdout)
    yield bare
    kubectl("argocd", "delete", "application", APPLICATION, "--wait=false")


def subjects(bare: Path) -> list[str]:
    return git(bare, "log", "--format=%s", "main").splitlines()


def application() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl("argocd", "get", "application", APPLICATION, "--output", "json"))
    return found["status"]


def version_of(flights: Project) -> str:
    notes = flights.get("deployment", NAME)["spec"]["template"]["metadata"]["annotations"]
    return str(next(value for key, value in notes.items() if key.endswith("/version")))


@needs_argocd
def test_a_release_goes_live_by_a_commit_is_healed_and_rolled_back_by_a_commit(
    flights: Project, deployments: Path
) -> None:
    made = flights.run()
    assert [made[step].action for step in ("deploy", "verify")] == ["ran", "ran"]
    assert subjects(deployments) == [f"{NAME}@v1.0.0 in kubernetes"]
    files = git(deployments, "ls-tree", "-r", "--name-only", "main").split()
    assert f"kubernetes/{NAME}/deployment.yaml" in files
    assert (application()["sync"]["status"], application()["health"]["status"]) == ("Synced", "Healthy")
    again = modelrail(flights, "deploy", NAME, "--environment", "kubernetes", "--dry-run")
    assert again.stdout.strip() == "nothing would change", again.stdout + again.stderr

    flights.kubectl("scale", "deployment", NAME, "--replicas=1")
    wait_until(lambda: flights.get("deployment", NAME)["spec"]["replicas"] == 2, "Argo CD to heal it")
    flights.kubectl("set", "resources", f"deployment/{NAME}", "--limits=memory=600Mi")
    wait_until(lambda: "600Mi" not in json.dumps(flights.get("deployment", NAME)["spec"]), "Argo CD to heal it")
    flights.kubectl("set", "env", f"deployment/{NAME}", "EDITED=1")  # an addition, which Argo CD leaves alone
    told = modelrail(flights, "deploy", NAME, "--environment", "kubernetes", "--dry-run").stdout
    assert "EDITED" in told, told
    assert "kubectl" in told, told
    flights.kubectl("set", "env", f"deployment/{NAME}", "EDITED-")

    flights.commit({"data/2.csv": rows(900, shift=5)}, "more data")
    second = flights.run()
    assert second["deploy"].action == "ran"
    assert subjects(deployments)[0] == f"{NAME}@v1.0.1 in kubernetes"
    assert version_of(flights) == "1.0.1"
    changed = git(deployments, "show", "--format=", "--name-only", "main").split()
    assert changed == [f"kubernetes/{NAME}/deployment.yaml"], "a diff that a person can review"

    back = modelrail(flights, "rollback", NAME, "--environment", "kubernetes", "--why", "a try")
    assert back.returncode == 0, back.stdout + back.stderr
    assert subjects(deployments)[0] == f"{NAME}@v1.0.0 in kubernetes"
    assert len(subjects(deployments)) == 3
    assert version_of(flights) == "1.0.0"
    assert git(deployments, "diff", "main~2", "main") == "", "what was there before, to the letter"


@needs_argocd
def test_a_release_that_does_not_come_up_is_taken_back_by_a_commit(flights: Project, deployments: Path) -> None:
    flights.run()
    resources = {"requests": {"memory": "4000Gi"}, "limits": {"memory": "4000Gi"}}
    flights.configure(resources=resources, ready_within_s=20)
    done = modelrail(flights, "deploy", NAME, "--environment", "kubernetes")
    assert done.returncode == 1, done.stdout
    assert "is committed again" in done.stderr, done.stderr
    assert subjects(deployments)[0] == f"Take {NAME}@v1.0.0 back: it did not come up"
    assert git(deployments, "diff", "main~2", "main") == ""
    wait_until(lambda: application()["health"]["status"] == "Healthy", "the earlier pods", 120)


@needs_argocd
def test_argo_cd_and_the_autoscaler_do_not_fight_over_replicas(flights: Project, deployments: Path) -> None:
    flights.configure(autoscale={"min_replicas": 2, "max_replicas": 3, "cpu": 0.7})
    flights.run()
    wait_until(lambda: flights.get("deployment", NAME)["spec"]["replicas"] == 2, "the autoscaler")
    wait_until(lambda: flights.get("deployment", NAME)["status"].get("readyReplicas") == 2, "two pods")
    told = modelrail(flights, "deploy", NAME, "--environment", "kubernetes")
    assert told.returncode == 0, told.stdout + told.stderr
    assert flights.get("deployment", NAME)["spec"]["replicas"] == 2
    assert (application()["sync"]["status"], application()["health"]["status"]) == ("Synced", "Healthy")
    assert len(subjects(deployments)) == 1


@needs_argocd
def test_a_deploy_that_was_killed_while_it_waited_is_finished_by_the_next(flights: Project, deployments: Path) -> None:
    flights.run()
    flights.configure(replicas=1, drain_s=1)
    command = [sys.executable, "-m", "pipeline", "deploy", NAME, "--environment", "kubernetes"]
    with subprocess.Popen(command, cwd=flights.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        wait_until(lambda: len(subjects(deployments)) == 2, "the commit")
        killed.kill()
    again = modelrail(flights, "deploy", NAME, "--environment", "kubernetes")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(subjects(deployments)) == 2
    assert flights.get("deployment", NAME)["spec"]["replicas"] == 1
    assert (application()["sync"]["status"], application()["health"]["status"]) == ("Synced", "Healthy")


@needs_argocd
def test_a_commit_for_review_waits_for_its_merge(flights: Project, deployments: Path) -> None:
    gitops = {"repository": deployments.as_uri(), "synced_within_s": 5, "review_branch": "modelrail/late"}
    flights.configure(gitops=gitops)
    with pytest.raises(DeploymentError, match="expected 'modelrail/late' to be merged into 'main': then run again"):
        flights.run()
    git(deployments, "update-ref", "refs/heads/main", "modelrail/late")
    flights.configure(gitops=gitops | {"synced_within_s": 120})
    done = modelrail(flights, "deploy", NAME, "--environment", "kubernetes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert version_of(flights) == "1.0.0"


def test_what_flux_would_apply_is_waited_for(flights: Project, bare: Path, tmp_path: Path) -> None:
    flights.configure(mode="gitops", gitops={"repository": bare.as_uri(), "applied_by": "flux", "synced_within_s": 120})

    def follow() -> None:
        """Apply the folder as Flux does."""
        wait_until((bare / "refs/heads/main").exists, "the commit")
        git(tmp_path, "clone", "-q", str(bare), "followed")
        flights.kubectl("apply", "--server-side", "--filename", str(tmp_path / "followed" / "kubernetes" / NAME))

    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow)
        made = flights.run()
        following.result()
    assert [made[step].action for step in ("deploy", "verify")] == ["ran", "ran"]
    assert version_of(flights) == "1.0.0"
