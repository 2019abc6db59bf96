"""Why a pod does not come up, in words; and how far a rollout is."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.rolling import newest_pods, progress_of, serving_pods
from pipeline.delivery.platforms.kubernetes.troubles import diagnose


def pod(status: dict[str, Any] | None = None, conditions: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    container = {"name": "server", "resources": {"limits": {"memory": "64Mi"}}}
    state = {"name": "server", "image": "r.example/line@sha256:1", "restartCount": 0, **(status or {})}
    return {
        "metadata": {"name": "line-1", "labels": {"pod-template-hash": "1"}},
        "spec": {"containers": [container]},
        "status": {"containerStatuses": [state], "conditions": conditions or [], **more},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


KILLED = {"lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}, "restartCount": 1}
CRASHED = {"lastState": {"terminated": {"exitCode": 1, "message": "first\nno model\n"}}, "restartCount": 2}


@pytest.mark.parametrize(
    ("found", "say", "final"),
    [
        (
            pod(waiting("ImagePullBackOff", "not found")),
            "found an image that cannot be pulled, r.example/line@sha256:1 (ImagePullBackOff: not found); expected it",
            True,
        ),
        (pod(waiting("ErrImagePull", "a hiccup")), "(ErrImagePull: a hiccup)", False),
        (pod(KILLED), "'server' killed for want of memory (its limit is 64Mi); expected it to fit", True),
        (
            pod(CRASHED),
            "'server' ends again and again, exit code 1: no model; expected it to stay up ('kubectl logs line-1",
            True,
        ),
        (
            pod(waiting("CreateContainerConfigError", 'configmap "line" not found')),
            "found that its container cannot be made",
            True,
        ),
        (
            pod(waiting("CreateContainerConfigError", "failed to sync cache: timed out waiting for the condition")),
            "found that its container cannot be made",
            False,
        ),
        (
            pod(reason="Evicted", message="The node was low on memory"),
            "found it evicted from its node (The node was low on memory)",
            False,
        ),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient cpu."}]),
            "found no node for it (0/1 nodes: Insufficient cpu.); expected one with room: lower what it requests",
            False,
        ),
        (
            pod(
                conditions=[
                    {"type": "PodScheduled", "status": "False", "message": "1 node(s) had untolerated taint(s)."}
                ]
            ),
            "or add a node; 'kubectl describe nodes' names the taints (disk-pressure, say, of a node without disk)",
            False,
        ),
    ],
)
def test_each_trouble_is_told_with_its_mend(found: dict[str, Any], say: str, *, final: bool) -> None:
    trouble = diagnose([found])
    assert trouble is not None
    assert say in trouble.say
    assert trouble.say.startswith("pod line-1: found ")
    assert trouble.final is final


def test_what_waiting_cannot_mend_is_told_first() -> None:
    pending = pod(conditions=[{"type": "PodScheduled", "status": "False"}])
    trouble = diagnose([pending, pod(KILLED)])
    assert trouble is not None
    assert trouble.kind == "memory"
    assert diagnose([pod()]) is None
    assert diagnose([pod({"restartCount": 1})]) is None, "once is no loop"


def deployment(generation: int = 2, **status: int) -> dict[str, Any]:
    notes = {"deployment.kubernetes.io/revision": "2"}
    return {"metadata": {"generation": generation, "annotations": notes}, "spec": {"replicas": 2}, "status": status}


@pytest.mark.parametrize(
    ("found", "done"),
    [
        (deployment(observedGeneration=2, replicas=2, updatedReplicas=2, availableReplicas=2), True),
        (deployment(observedGeneration=1, replicas=2, updatedReplicas=2, availableReplicas=2), False),
        (deployment(observedGeneration=2, replicas=3, updatedReplicas=2, availableReplicas=3), False),
        (deployment(observedGeneration=2, replicas=2, updatedReplicas=2, availableReplicas=1), False),
        (deployment(), False),
    ],
)
def test_a_rollout_is_done_when_only_newest_pods_are_left_and_ready(found: dict[str, Any], *, done: bool) -> None:
    assert progress_of(found).done is done


def test_the_newest_pods_are_those_of_the_newest_replica_set() -> None:
    sets = [
        {
            "metadata": {
                "labels": {"pod-template-hash": name},
                "annotations": {"deployment.kubernetes.io/revision": revision},
            }
        }
        for name, revision in (("0", "1"), ("1", "2"))
    ]
    old = {"metadata": {"name": "old", "labels": {"pod-template-hash": "0"}}}
    assert newest_pods(deployment(), sets, [old, pod()]) == [pod()]


def test_pods_that_the_service_knows_are_those_that_are_ready() -> None:
    endpoints = [
        {"conditions": {"ready": True}, "targetRef": {"name": "a"}},
        {"conditions": {"ready": False}, "targetRef": {"name": "b"}},
    ]
    assert serving_pods([{"endpoints": endpoints}, {"endpoints": None}]) == {"a"}


def test_pods_are_not_blamed_for_a_template_that_the_cluster_has_not_taken_in() -> None:
    before, after = deployment(observedGeneration=1), deployment(observedGeneration=2)
    assert [progress_of(each).seen for each in (before, after)] == [False, True]
