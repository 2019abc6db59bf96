"""Make a release live by Argo Rollouts: apply its objects, wait for its word, bring back what was if it aborts.

The Rollout itself keeps, as an annotation, the pods of the release before: so whoever comes after a killed process can
bring them back, or goes on waiting.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from pipeline.delivery.images.packaging import PREFIX
from pipeline.delivery.platforms.kubernetes.argo.objects import ARGO, at_once
from pipeline.delivery.platforms.kubernetes.canary import remove_canary
from pipeline.delivery.platforms.kubernetes.canary_objects import scaled
from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.delivery.platforms.kubernetes.leases import Lease, LostError
from pipeline.delivery.platforms.kubernetes.manifests import APPS, Manifest
from pipeline.delivery.platforms.kubernetes.owning import get_own
from pipeline.delivery.platforms.kubernetes.platform import (
    Kubernetes,
    address_of,
    apply,
    held,
    live_of,
    open_target,
    own,
    remove_leftovers,
    render,
    retire,
)
from pipeline.delivery.platforms.kubernetes.readiness import require_cluster
from pipeline.delivery.platforms.kubernetes.troubles import diagnose
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Release
from pipeline.errors import AbortedError, DeploymentError, InputError, TransientError
from pipeline.preflight import ask_all
from pipeline.spec.object_names import name_of

Object = Mapping[str, Any]

_BEFORE = f"{PREFIX}/before"
_HASH = "rollouts-pod-template-hash"
_POLL_S = 1.0


class State(Enum):
    """How far Argo is with a Rollout."""

    GOING = auto()
    DONE = auto()
    FAILED = auto()


class ArgoKubernetes(Kubernetes):
    """A cluster with Argo Rollouts, which takes a release step by step."""

    def require_cluster(self, target: Target) -> None:
        """Ask the cluster for Argo Rollouts too."""
        with open_target(target) as cluster:
            ask_all([partial(_require_argo, cluster), partial(require_cluster, cluster, target)])

    def deploy(self, target: Target, release: Release, bundle: Path, image: str | None) -> Live:
        """Apply the release and wait until Argo says that it is healthy; else bring back what was."""
        image = image or self.package(target, release, bundle)
        with open_target(target) as cluster, held(cluster, target, release, image) as lease:
            _require_argo(cluster)
            apart = live_of(own(cluster, target), target)
            found = own(cluster, target, ARGO, "Rollout")
            in_use = found is not None and found["spec"].get("replicas", 1) > 0
            before = stable_of(found) if found and in_use else None
            # What another strategy has left does not take part in a canary; its pods serve until those of Argo do.
            chosen = target if in_use else replace(target, at_once=True)
            _roll_out(cluster, lease, chosen, release, render(target, release, image, cluster, None), before, apart)
            remove_canary(cluster, lease, target)
            retire(cluster, lease, APPS, "Deployment", target)
            remove_leftovers(cluster, target)
        version = version_in(before) if before else apart.version if apart else None
        replaced = version if version != str(release.version) else None
        return Live(target.model, str(release.version), address_of(target), replaced, image=image)

    def live(self, target: Target) -> Live | None:
        """Find the release whose pods Argo takes for the stable ones; before it has any, that of the Deployment."""
        with open_target(target) as cluster:
            found = get_own(cluster, target, (ARGO, "Rollout", name_of(target.model)))
        pods = stable_of(found) if found and found.get("status", {}).get("availableReplicas") else None
        if pods is None:
            return super().live(target)
        notes = pods["metadata"]["annotations"]
        image = notes.get(f"{PREFIX}/image")
        return Live(target.model, notes[f"{PREFIX}/version"], address_of(target), image=image)


def state_of(rollout: Object) -> tuple[State, str]:
    """Read how far Argo is with a Rollout as it was applied last, and what it says."""
    status = rollout.get("status", {})
    if not is_seen(rollout):
        return State.GOING, "Argo Rollouts has not seen it yet: does its controller run?"
    said = str(status.get("message") or status.get("phase") or "it has not begun")
    if status.get("abort") or status.get("phase") == "Degraded":
        return State.FAILED, said
    done = status.get("phase") == "Healthy" and status.get("stableRS") == status.get("currentPodHash")
    return (State.DONE if done else State.GOING), said


def is_seen(rollout: Object) -> bool:
    """Tell whether Argo has taken in a Rollout as it is now."""
    return str(rollout.get("status", {}).get("observedGeneration")) == str(rollout["metadata"]["generation"])


def stable_of(rollout: Object) -> Manifest | None:
    """Find the pods' template to return to if the newest fails; None if none was ever live."""
    kept = rollout["metadata"].get("annotations", {}).get(_BEFORE)
    if kept:
        found: Manifest = json.loads(kept)
        return found
    status = rollout.get("status", {})
    if not status.get("stableRS"):
        return None
    template: Manifest = rollout["spec"]["template"]
    return template


def keeping(rollout: Manifest, before: Object | None) -> Manifest:
    """Write the pods of the release before into a Rollout, as an annotation."""
    if before is None:
        return rollout
    notes = {**rollout["metadata"].get("annotations", {}), _BEFORE: json.dumps(before, sort_keys=True)}
    return {**rollout, "metadata": {**rollout["metadata"], "annotations": notes}}


def back_to(rollout: Manifest, before: Object) -> Manifest:
    """Build the Rollout of the release before: its pods, and what is known of it."""
    known = {key: value for key, value in before["metadata"]["annotations"].items() if key != f"{PREFIX}/settings"}
    metadata = {**rollout["metadata"], "annotations": known}
    return {**rollout, "metadata": metadata, "spec": {**rollout["spec"], "template": before}}


def version_in(template: Object) -> str:
    """Read the version of a template's pods."""
    version: str = template["metadata"]["annotations"][f"{PREFIX}/version"]
    return version


def _roll_out(
    cluster: Cluster,
    lease: Lease,
    target: Target,
    release: Release,
    objects: Sequence[Manifest],
    before: Manifest | None,
    apart: Live | None,
) -> None:
    """Apply the objects, the Rollout last, and wait; `before` are Argo's pods, `apart` what is live without Argo."""
    *others, rollout = objects
    lease.check()
    for each in others:
        apply(cluster, each)
    apply(cluster, keeping(at_once(rollout) if target.at_once else rollout, before))
    try:
        _await_argo(cluster, lease, target)
    except LostError:
        raise  # the objects are the other's now
    except DeploymentError as error:
        lease.check()
        _undo(cluster, lease, target, release, rollout, before, apart, error)
    apply(cluster, rollout)


def _undo(
    cluster: Cluster,
    lease: Lease,
    target: Target,
    release: Release,
    rollout: Manifest,
    before: Manifest | None,
    apart: Live | None,
    error: DeploymentError,
) -> NoReturn:
    """Bring back what was live, and say why."""
    said = f"deploy {release.tag}: aborted: {error}"
    if before is not None:
        version = version_in(before)
        apply(cluster, back_to(rollout, before))
        _await_argo(cluster, lease, replace(target, at_once=True))
    elif apart is not None:
        version = apart.version
        apply(cluster, scaled(rollout, 0))
    else:
        raise DeploymentError(
            f"{said}; nothing was live before, and its objects are left for you to look at"
        ) from error
    raise AbortedError(f"{said}; v{version} stays live", f"{release.model}@v{version}") from error


def _await_argo(cluster: Cluster, lease: Lease, target: Target) -> None:
    """Wait until Argo has judged what was applied last, also while the API server does not answer for some time."""
    deploy, name = target.spec.deploy, name_of(target.model)
    canary = deploy.canary if not target.at_once else None
    within_s = canary.deadline_s if canary else deploy.ready_within_s
    key = "deploy.canary.deadline_s" if canary else "deploy.ready_within_s"
    deadline, said = time.monotonic() + within_s, "the cluster's API did not answer"
    while time.monotonic() < deadline:
        try:
            lease.check()
            state, said = _look(cluster, name)
        except TransientError as error:
            state, said = State.GOING, str(error)
        if state is State.DONE:
            return
        if state is State.FAILED:
            raise DeploymentError(said)
        time.sleep(_POLL_S)
    raise DeploymentError(f"found that {said} when {within_s:g} s were over; expected it to be healthy ({key})")


def _look(cluster: Cluster, name: str) -> tuple[State, str]:
    rollout = cluster.get(ARGO, "Rollout", name)
    if rollout is None:
        raise DeploymentError(f"{name}: found no Rollout; expected it: someone has deleted it")
    state, said = state_of(rollout)
    status = rollout.get("status", {})
    if state is State.DONE or not is_seen(rollout) or "currentPodHash" not in status:
        return state, said
    trouble = diagnose(cluster.list("v1", "Pod", {_HASH: status["currentPodHash"]}))
    return (State.FAILED, trouble.say) if trouble and trouble.final else (state, said)


def _require_argo(cluster: Cluster) -> None:
    if ARGO not in cluster.apis():
        raise InputError(
            "deploy.strategy: found no Argo Rollouts in the cluster; expected it there, or another strategy (canary)"
        )
