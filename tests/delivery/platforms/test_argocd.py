"""Argo CD's application, and what its state says."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.argo.cd import Sync, application, differences, judge
from pipeline.delivery.platforms.kubernetes.argo.gitops import _compare, _files
from pipeline.spec.schema.spec import Spec

from .test_manifests import render


def spec_of(**deploy: Any) -> Spec:
    return Spec.model_validate(
        {
            "model": {"name": "Line_1", "trainer": "linear_regression", "target": "y"},
            "environment": {"platform": "kubernetes"},
            "deploy": {
                "mode": "gitops",
                "namespace": "models",
                "gitops": {"repository": "https://git.example/deployments.git"},
                "image": {"base": "r.example/s:1", "repository": "r.example/models"},
                **deploy,
            },
        }
    )


def test_an_application_follows_the_models_folder_and_leaves_replicas_to_the_autoscaler() -> None:
    spec = spec_of(autoscale={"max_replicas": 3, "cpu": 0.7})
    assert spec.deploy.gitops is not None
    made = application(spec, spec.deploy.gitops, "prod")
    assert made["metadata"]["name"] == "prod-line-1--81e7f47d"
    assert made["spec"]["source"] == {
        "repoURL": "https://git.example/deployments.git",
        "targetRevision": "main",
        "path": "prod/line-1--81e7f47d",
        "directory": {"include": "*.yaml"},
    }
    assert made["spec"]["destination"]["namespace"] == "models"
    assert made["spec"]["syncPolicy"]["automated"]["selfHeal"] is True
    (ignored,) = made["spec"]["ignoreDifferences"]
    assert (ignored["name"], ignored["jsonPointers"]) == ("line-1--81e7f47d", ["/spec/replicas"])
    fixed = spec_of(replicas=2)
    assert fixed.deploy.gitops is not None
    assert "ignoreDifferences" not in application(fixed, fixed.deploy.gitops, "prod")["spec"]


def state(sync: str = "Synced", health: str = "Healthy", phase: str = "Succeeded", **more: Any) -> dict[str, Any]:
    operation = {"phase": phase, "message": "it says why", "syncResult": {"revision": "abc"}}
    return {"status": {"sync": {"status": sync}, "health": {"status": health}, "operationState": operation, **more}}


@pytest.mark.parametrize(
    ("found", "ours", "expected"),
    [
        (state(), (True, True), Sync(applied=True)),
        (state(health="Progressing"), (True, True), Sync("Argo CD says Progressing", applied=True)),
        (state(health="Degraded"), (True, True), Sync("Argo CD says Degraded", applied=True)),
        (state("OutOfSync"), (True, False), Sync("Argo CD says OutOfSync")),
        (state(), (False, False), Sync("Argo CD has not seen the commit")),
        (state(phase="Failed"), (True, True), Sync("Argo CD could not apply it: it says why", final=True)),
        (state(phase="Failed"), (False, False), Sync("Argo CD has not seen the commit")),
        ({}, (False, False), Sync("Argo CD has not seen the commit")),
        (
            state(conditions=[{"type": "ComparisonError", "message": "no such branch"}]),
            (False, False),
            Sync("Argo CD says: no such branch"),
        ),
    ],
)
def test_a_commit_is_live_once_it_is_synced_and_healthy(
    found: dict[str, Any], ours: tuple[bool, bool], expected: Sync
) -> None:
    assert judge(found, is_ours=ours[0], was_ours=ours[1]) == expected


def test_what_argo_cd_sees_out_of_sync_is_told() -> None:
    resources = [
        {"kind": "Service", "name": "m", "status": "Synced"},
        {"kind": "Deployment", "name": "m", "status": "OutOfSync"},
    ]
    told = [str(each) for each in differences({"status": {"resources": resources}})]
    assert told == ["Deployment/m: found OutOfSync; expected Synced"]


def test_files_are_compared_value_by_value() -> None:
    now, then = (_files([*render(replicas=count).values()]) for count in (1, 2))
    assert sorted(now) == [
        "configmap.yaml", "deployment.yaml", "networkpolicy.yaml", "poddisruptionbudget.yaml", "service.yaml",
        "serviceaccount.yaml",
    ]  # fmt: skip
    assert list(_compare(now, now)) == []
    assert [str(each) for each in _compare(now, then)] == ["Git: deployment.yaml: spec.replicas: found 1; expected 2"]
    gone = {name: text for name, text in now.items() if name != "configmap.yaml"}
    assert {each.where for each in _compare(gone, now)} == {"Git: configmap.yaml"}
