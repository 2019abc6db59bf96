"""Another model's objects, and another program's, in the same namespace: refused or left alone, never changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes import platform
from pipeline.delivery.platforms.kubernetes.argo import gitops
from pipeline.delivery.platforms.kubernetes.argo.objects import ARGO
from pipeline.delivery.platforms.kubernetes.canary import remove_canary
from pipeline.delivery.platforms.kubernetes.leases import Lease
from pipeline.delivery.platforms.kubernetes.manifests import manifests
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Release, Version
from pipeline.errors import DeploymentError
from pipeline.spec.schema.spec import Spec
from tests.conftest import git

from .memory_cluster import MemoryCluster, Object
from .test_manifests import IMAGE
from .test_platforms import make_release

STEPS = {"steps": [{"weight": 50}]}
CANARY, SHADOW = ({"strategy": each, "canary": STEPS} for each in ("canary", "shadow"))
ARGO_CANARY = {"strategy": "argo-rollouts", "canary": {**STEPS, "prometheus": "http://prometheus:9090"}}


def target_of(model: str = "churn", environment: str | None = "prod", **deploy: Any) -> Target:
    spec = Spec.model_validate(
        {
            "model": {"name": model, "trainer": "linear_regression", "target": "y"},
            "environment": {"platform": "kubernetes"},
            "deploy": {
                "namespace": "models",
                "image": {"base": "r.example/s:1", "repository": "r.example/models"},
                "ready_within_s": 1,
                **deploy,
            },
        }
    )
    return Target(spec, environment, Path("state"))


def release_of(model: str) -> Release:
    return Release(model, Version.parse("1.0.0"), make_release().evidence)


def objects_of(model: str, environment: str | None = "prod", **deploy: Any) -> list[Object]:
    made = manifests(target_of(model, environment, **deploy).spec, release_of(model), environment, IMAGE)
    for each in made:
        if each["kind"] == "Deployment":
            each["status"] = {"replicas": 2, "availableReplicas": 2}
    return made


def helm(api: str, kind: str, name: str) -> Object:
    """Write an object of another program, with the label of its name that everybody sets."""
    labels = {"app.kubernetes.io/name": "churn", "app.kubernetes.io/managed-by": "Helm"}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": {"replicas": 2}}


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that makes a release live on a cluster in memory."""

    def deploy(cluster: MemoryCluster, target: Target) -> None:
        monkeypatch.setattr(platform, "open_cluster", lambda *_: cluster)
        platform_of(target.spec).deploy(target, release_of(target.model), tmp_path, IMAGE)

    return deploy


OTHERS = "found it to be of the model churn-{0} in the environment prod; expected churn in prod: choose another name"


@pytest.mark.parametrize(
    ("settings", "there", "where", "said"),
    [
        (CANARY, objects_of("churn-baseline"), "Deployment/churn-baseline", OTHERS.format("baseline")),
        (CANARY, objects_of("churn-canary"), "Deployment/churn-canary", OTHERS.format("canary")),
        (SHADOW, objects_of("churn-canary"), "Deployment/churn-canary",
         OTHERS.format("canary")),
        ({"strategy": "blue-green"}, objects_of("churn-canary"), "Deployment/churn-canary", OTHERS.format("canary")),
        ({**CANARY, "gateway": {"name": "g"}}, [helm("v1", "Service", "churn-canary")], "Service/churn-canary",
         "found a Service that Modelrail did not make; expected none of that name (another namespace: deploy.name"),
        (ARGO_CANARY, [helm(ARGO, "AnalysisTemplate", "churn-enough")],
         "AnalysisTemplate/churn-enough", "found a AnalysisTemplate that Modelrail did not make"),
        ({}, objects_of("churn", "staging"), "ServiceAccount/churn",
         "found it to be of the model churn in the environment staging; expected churn in prod"),
        ({}, objects_of("Churn"), "Deployment/churn", "found it to be of the model Churn in the environment prod"),
        *(({}, [helm(api, kind, "churn")], f"{kind}/churn", f"found a {kind} that Modelrail did not make")
          for api, kind in (("v1", "ServiceAccount"), ("v1", "ConfigMap"), ("v1", "Service"), ("apps/v1", "Deployment"),
                            ("networking.k8s.io/v1", "NetworkPolicy"), ("policy/v1", "PodDisruptionBudget"),
                            ("coordination.k8s.io/v1", "Lease"))),
    ],
)  # fmt: skip
def test_a_release_whose_object_is_anothers_is_refused_before_anything_is_changed(
    settings: dict[str, Any], there: list[Object], where: str, said: str, deploy: Any
) -> None:
    cluster = MemoryCluster(*there, apis=frozenset({ARGO}))
    with pytest.raises(DeploymentError) as caught:
        deploy(cluster, target_of(**settings))
    assert str(caught.value).startswith(f"models/{where}: {said}")
    assert cluster.changed == []


def test_a_release_without_a_canary_leaves_the_model_alone_that_is_named_like_its_baseline() -> None:
    cluster, target = MemoryCluster(*objects_of("churn-baseline"), *objects_of("churn")), target_of()
    with Lease(cluster, target.model, target.environment) as lease:
        remove_canary(cluster, lease, target)
    assert not [each for each in cluster.changed if "baseline" in each]


def test_what_stops_leaves_everything_that_is_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = [*objects_of("churn-baseline"), helm("v1", "Service", "churn-canary")]
    cluster, target = MemoryCluster(*objects_of("churn"), *theirs), target_of()
    monkeypatch.setattr(platform, "open_cluster", lambda *_: cluster)
    assert platform_of(target.spec).stop(target) is not None
    left = {(each["kind"], each["metadata"]["name"]) for each in theirs}
    assert set(cluster.objects) == left


def test_what_is_live_of_another_model_is_not_this_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = MemoryCluster(*objects_of("churn", "staging"))
    monkeypatch.setattr(platform, "open_cluster", lambda *_: cluster)
    target = target_of()
    assert platform_of(target.spec).live(target) is None
    there = target_of(environment="staging")
    assert platform_of(there.spec).live(there) is not None


def application(name: str, path: str) -> Object:
    return {
        "apiVersion": ARGO,
        "kind": "Application",
        "metadata": {"name": name},
        "spec": {"source": {"path": path}},
    }


def committed(bare: Path, folder: str, model: str) -> None:
    """Commit a model's Deployment to a folder of a bare repository."""
    work = bare.parent / "work"
    git(bare.parent, "clone", "-q", str(bare), "work")
    file = work / folder / "deployment.yaml"
    file.parent.mkdir(parents=True)
    (made,) = (each for each in objects_of(model) if each["kind"] == "Deployment")
    file.write_text(gitops.to_yaml([made]))
    git(work, "add", ".")
    git(work, "commit", "-qm", "one")
    git(work, "push", "-q", "origin", "HEAD:main")


@pytest.mark.parametrize(
    ("applications", "model_there", "said"),
    [
        ([("g-price-shop", "g-price/shop")], None,
         "argocd/Application/g-price-shop: found that it follows 'g-price/shop'; expected 'g/price-shop'"),
        ([], None, "Argo CD: found no application argocd/g-price-shop; expected it"),
        ([("g-price-shop", "g/price-shop")], "another",
         r"g/price-shop: models/Deployment/another: found it to be of the model another in the environment prod"),
    ],
)  # fmt: skip
def test_a_folder_and_an_application_of_another_model_are_left_alone(
    applications: list[tuple[str, str]],
    model_there: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "deployments.git")
    bare = tmp_path / "deployments.git"
    if model_there:
        committed(bare, "g/price-shop", model_there)
    before = git(bare, "for-each-ref")
    settings = {"repository": bare.as_uri(), "synced_within_s": 1}
    target = target_of("price-shop", "g", mode="gitops", gitops=settings)
    target = Target(target.spec, "g", tmp_path / "state")
    cluster = MemoryCluster()
    argocd = MemoryCluster(*(application(*each) for each in applications), namespace="argocd")
    monkeypatch.setattr(platform, "open_cluster", lambda *_: cluster)
    monkeypatch.setattr(gitops, "open_cluster", lambda *_: argocd)
    with pytest.raises(DeploymentError) as caught:
        platform_of(target.spec).deploy(target, release_of("price-shop"), tmp_path, IMAGE)
    assert said in str(caught.value)
    assert cluster.changed + argocd.changed == []
    assert git(bare, "for-each-ref") == before


def test_an_application_that_an_earlier_version_named_still_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "deployments.git")
    settings = {"repository": (tmp_path / "deployments.git").as_uri(), "synced_within_s": 1}
    target = Target(target_of("shop", "g-price", mode="gitops", gitops=settings).spec, "g-price", tmp_path / "state")
    cluster = MemoryCluster()
    argocd = MemoryCluster(application("g-price-shop", "g-price/shop"), namespace="argocd")
    monkeypatch.setattr(platform, "open_cluster", lambda *_: cluster)
    monkeypatch.setattr(gitops, "open_cluster", lambda *_: argocd)
    with pytest.raises(DeploymentError, match="not live within 1 s: Argo CD has not seen the commit"):
        platform_of(target.spec).deploy(target, release_of("shop"), tmp_path, IMAGE)
    assert set(argocd.changed) == {"apply Application/g-price-shop"}, "it was told to look"


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (
            "flight_delay",
            "its name was flight-delay, and what has that name still runs: let callers ask flight-delay--",
        ),
        ("flight-delay", None),
    ],
)
def test_what_still_runs_under_the_name_of_an_earlier_version_is_told(there: str, said: str | None) -> None:
    former = objects_of(there)
    for each in former:
        each["metadata"]["name"] = "flight-delay"
    found = platform.note_on_former(MemoryCluster(*former), target_of("flight_delay"))
    assert (found is None) if said is None else (found or "").startswith(said)
    assert platform.note_on_former(MemoryCluster(*objects_of("flight-delay")), target_of("flight-delay")) is None
