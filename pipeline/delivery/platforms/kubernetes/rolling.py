"""Waiting for a Deployment: whether it is rolled out, and if not, why. Pure functions decide."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.delivery.platforms.kubernetes.manifests import APPS
from pipeline.delivery.platforms.kubernetes.troubles import Trouble, diagnose
from pipeline.errors import DeploymentError, TransientError

Object = Mapping[str, Any]

_POLL_S = 0.5
_REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"


@dataclass(frozen=True)
class Rollout:
    """How far a Deployment is.

    Attributes
    ----------
    wanted, ready : int
        Pods asked for, and pods of the newest template that have been ready.
    seen : bool
        Whether the cluster has taken in the newest template; until then, its newest pods are those of the one before.
    done : bool
        Whether only pods of the newest template are left, all of them ready.
    """

    wanted: int
    ready: int
    seen: bool
    done: bool


def progress_of(deployment: Object) -> Rollout:
    """Read how far a Deployment is, as ``kubectl rollout status`` does."""
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    done = seen and updated == wanted and status.get("replicas", 0) == updated and available >= updated
    return Rollout(wanted, min(updated, available), seen, done)


def newest_pods(deployment: Object, sets: Sequence[Object], pods: Sequence[Object]) -> list[Object]:
    """Pick the pods of a Deployment's newest template."""
    revision = deployment["metadata"].get("annotations", {}).get(_REVISION)
    newest = {
        each["metadata"]["labels"][_HASH]
        for each in sets
        if each["metadata"].get("annotations", {}).get(_REVISION) == revision
    }
    return [each for each in pods if each["metadata"]["labels"].get(_HASH) in newest]


def serving_pods(slices: Sequence[Object]) -> set[str]:
    """List the names of the pods that a Service sends requests to."""
    return {
        endpoint["targetRef"]["name"]
        for each in slices
        for endpoint in each.get("endpoints") or ()
        if endpoint.get("conditions", {}).get("ready") and "targetRef" in endpoint
    }


def await_rollout(
    cluster: Cluster, name: str, labels: Mapping[str, str], within_s: float, *, by_service: bool = True
) -> None:
    """Wait until only the newest pods are left, ready, and sent requests by the Service of that name.

    An API server that is away for a while is waited for.

    Parameters
    ----------
    by_service : bool
        Whether the Service must send them requests.

    Raises
    ------
    DeploymentError
        If that cannot be, or takes longer; the message says what is wrong with which pod.
    """
    deadline = time.monotonic() + within_s
    trouble, say = None, "the cluster's API did not answer"
    while time.monotonic() < deadline:
        try:
            trouble, say = _look(cluster, name, labels, by_service=by_service)
        except TransientError as error:
            trouble, say = None, str(error)
        if not (trouble or say):
            return
        if trouble and trouble.final:
            raise DeploymentError(f"{name}: {trouble.say}")
        time.sleep(_POLL_S)
    reason = trouble.say if trouble else f"found that {say}; expected all (deploy.ready_within_s)"
    raise DeploymentError(f"{name}: not ready within {within_s:g} s: {reason}")


def _look(cluster: Cluster, name: str, labels: Mapping[str, str], *, by_service: bool) -> tuple[Trouble | None, str]:
    """Look once: return what is wrong, and what is still waited for; neither if all is done."""
    deployment = cluster.get(APPS, "Deployment", name)
    if deployment is None:
        raise DeploymentError(f"{name}: found no Deployment; expected it: someone has deleted it")
    progress = progress_of(deployment)
    newest = newest_pods(deployment, cluster.list(APPS, "ReplicaSet", labels), cluster.list("v1", "Pod", labels))
    if not progress.done:
        return diagnose(newest) if progress.seen else None, f"{progress.ready} of {progress.wanted} pods were ready"
    if not by_service:
        return None, ""
    slices = cluster.list("discovery.k8s.io/v1", "EndpointSlice", {"kubernetes.io/service-name": name})
    missing = {each["metadata"]["name"] for each in newest if alive(each)} - serving_pods(slices)
    return None, f"the Service did not know {', '.join(sorted(missing))} yet" if missing else ""


def alive(pod: Object) -> bool:
    """Tell whether a pod is not on its way out."""
    return "deletionTimestamp" not in pod["metadata"] and pod.get("status", {}).get("phase") == "Running"
