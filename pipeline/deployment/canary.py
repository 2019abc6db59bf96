"""A canary on a cluster: beside the stable pods some of the candidate, and as many new ones of what is live.

The stable Deployment is not touched before the candidate is promoted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pipeline.deployment.cluster import Cluster
from pipeline.deployment.leases import Lease, LostError
from pipeline.deployment.manifests import (
    APPS,
    BASELINE,
    CANARY,
    ROUTES,
    TRACK,
    Manifest,
    deployment,
    facts_of,
    labels_of,
    name_of,
    selector_of,
)
from pipeline.deployment.platforms import Target
from pipeline.deployment.rolling import alive, serving_pods
from pipeline.deployment.traffic import TRACKS, Traffic, traffic_of
from pipeline.deployment.troubles import diagnose
from pipeline.errors import DeploymentError, InputError
from pipeline.packaging import PREFIX
from pipeline.release import Release
from pipeline.rollouts.deciding import Rollout
from pipeline.rollouts.driving import Sight, drive
from pipeline.rollouts.readings import Reading, read_metrics, total
from pipeline.spec.schema_canary import Canary

_OUT_S = 30.0
_POLL_S = 0.5

Object = Mapping[str, Any]


def roll_out(
    cluster: Cluster,
    lease: Lease,
    target: Target,
    release: Release,
    image: str,
    live: str,
    put: Callable[[], None],
) -> None:
    """Make a release live if it does no worse than what is live; goes on where a killed process stopped.

    Parameters
    ----------
    live : str
        Version that is live.
    put : callable
        Makes the release live, pod by pod.

    Raises
    ------
    AbortedError
        If it does worse; what was live stays live.
    LostError
        If another deploy has taken over.
    DeploymentError
        If it did no worse, but cannot be made live.
    """
    rollout = Rollout.from_json(lease.written) if lease.written else None
    if rollout is None or (rollout.candidate, rollout.image) != (release.tag, image):
        remove_canary(cluster, lease, target)
        if live == str(release.version):
            put()
            return
        rollout = Rollout(release.tag, f"{target.model}@v{live}", image, began=time.time())
    plan = target.spec.deploy.canary
    if plan is None:
        raise InputError("deploy.canary: found nothing; expected the steps of a canary")
    try:
        drive(rollout, _Tracks(cluster, lease, target, release, image, plan, put), plan)
    except LostError:
        raise  # the objects are the other's now
    except DeploymentError:
        remove_canary(cluster, lease, target)
        raise


def remove_canary(cluster: Cluster, lease: Lease, target: Target) -> None:
    """Take all requests from a canary, then its pods away, then its baseline's; nothing happens where there is none.

    Both Deployments stay, without pods: who deploys may not remove any.
    """
    name, traffic = name_of(target.model), _traffic(target)
    lease.check()
    known = [cluster.get(APPS, "Deployment", f"{name}-{track}") for track in TRACKS]
    found = [each for each in known if each and (each["spec"]["replicas"] or each.get("status", {}).get("replicas"))]
    for each in traffic.objects(0) if found else ():
        cluster.apply(each)
    for each in found:
        cluster.apply(scaled(each, 0))
        track = each["spec"]["selector"]["matchLabels"][TRACK]
        _await_out(cluster, traffic.service(track), selector_of(name, track))
    if lease.written is not None:
        lease.write(None)


class _Tracks:
    """The canary and its baseline, beside the stable Deployment."""

    def __init__(
        self,
        cluster: Cluster,
        lease: Lease,
        target: Target,
        release: Release,
        image: str,
        plan: Canary,
        put: Callable[[], None],
    ) -> None:
        self._cluster, self._lease, self._target, self._plan, self._put = cluster, lease, target, plan, put
        self._name, self._deploy, self._traffic = name_of(target.model), target.spec.deploy, _traffic(target)
        labels = labels_of(target.model, target.environment)
        facts = facts_of(release, target.environment, image)
        self._canary = {
            "apiVersion": APPS,
            "kind": "Deployment",
            "metadata": {
                "name": f"{self._name}-{CANARY}",
                "namespace": self._deploy.namespace,
                "labels": labels,
                "annotations": facts,
            },
            "spec": deployment(target.spec, labels, facts, image, CANARY, 0),
        }
        self._candidate = str(release.version)

    def keep(self, weight: int) -> Sight:
        self._lease.check()
        stable = self._cluster.get(APPS, "Deployment", self._name)
        if stable is None:
            raise DeploymentError(f"{self._name}: found no Deployment; expected it: someone has deleted it")
        replicas, weights = stable["spec"]["replicas"], [step.weight for step in self._plan.steps]
        try:
            pods = {each: self._traffic.pods(each, replicas, max(weights)) for each in (0, *weights)}
        except InputError as error:
            return Sight(ready=False, trouble=str(error))
        for each in (self._canary, baseline_of(stable)):
            self._cluster.apply(scaled(each, pods[weight]))
        for each in self._traffic.objects(weight):
            self._cluster.apply(each)
        return self._look(pods[weight], version_of(stable))

    def save(self, rollout: Rollout) -> None:
        self._lease.write(rollout.to_json())

    def promote(self) -> None:
        self._lease.check()
        self._put()
        remove_canary(self._cluster, self._lease, self._target)

    def abort(self) -> None:
        remove_canary(self._cluster, self._lease, self._target)

    def _look(self, count: int, stable: str) -> Sight:
        pods = {track: self._pods(track) for track in TRACKS}
        trouble = diagnose(pods[CANARY])
        known = {name for track in TRACKS for name in _endpoints(self._cluster, self._traffic.service(track))}
        ready = all(len(names(each)) == count and names(each) <= known for each in pods.values())
        in_force = not self._deploy.gateway or self._traffic.is_in_force(
            self._cluster.get(ROUTES, "HTTPRoute", self._name)
        )
        return Sight(
            ready and in_force,
            self._read(pods[CANARY], known, self._candidate),
            self._read(pods[BASELINE], known, stable),
            trouble.say if trouble and trouble.final else None,
        )

    def _pods(self, track: str) -> Sequence[Object]:
        found = self._cluster.list("v1", "Pod", selector_of(self._name, track))
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def _read(self, pods: Iterable[Object], known: set[str], version: str) -> Reading:
        texts = (self._cluster.metrics(name, self._deploy.port) for name in sorted(names(pods) & known))
        return total(read_metrics(text, self._target.model, version) for text in texts)


def baseline_of(stable: Object) -> Manifest:
    """Give a Deployment of what is live, under another track: as new as the canary, and as large."""
    keys = ("labels", "annotations")
    made = {
        "apiVersion": APPS,
        "kind": "Deployment",
        "metadata": {
            "name": f"{stable['metadata']['name']}-{BASELINE}",
            "namespace": stable["metadata"]["namespace"],
            **{key: stable["metadata"][key] for key in keys if key in stable["metadata"]},
        },
        "spec": stable["spec"],
    }
    made["metadata"]["annotations"] = {
        key: value for key, value in made["metadata"].get("annotations", {}).items() if key.startswith(f"{PREFIX}/")
    }
    relabelled: Manifest = _relabel(json.loads(json.dumps(made)))
    return relabelled


def scaled(manifest: Object, replicas: int) -> Manifest:
    """Give a Deployment, as it can be applied, with another number of pods."""
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in manifest["metadata"].items() if key in kept}
    notes = {key: value for key, value in metadata.get("annotations", {}).items() if key.startswith(f"{PREFIX}/")}
    spec = {**manifest["spec"], "replicas": replicas}
    return {"apiVersion": APPS, "kind": "Deployment", "metadata": metadata | {"annotations": notes}, "spec": spec}


def version_of(stable: Object) -> str:
    """Give the version that a Deployment's pods have."""
    notes: Mapping[str, str] = stable["spec"]["template"]["metadata"].get("annotations", {})
    return notes[f"{PREFIX}/version"]


def names(pods: Iterable[Object]) -> set[str]:
    """Give the names of pods that run."""
    return {each["metadata"]["name"] for each in pods if alive(each)}


def _traffic(target: Target) -> Traffic:
    return traffic_of(name_of(target.model), target.spec.deploy, labels_of(target.model, target.environment))


def _relabel(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if each is not None}
        return {key: BASELINE if key == TRACK else _relabel(each) for key, each in kept.items()}
    return [_relabel(each) for each in value] if isinstance(value, list) else value


def _endpoints(cluster: Cluster, name: str) -> set[str]:
    return serving_pods(cluster.list("discovery.k8s.io/v1", "EndpointSlice", {"kubernetes.io/service-name": name}))


def _await_out(cluster: Cluster, name: str, selector: Mapping[str, str]) -> None:
    """Wait until the Service knows none of these pods any more."""
    deadline = time.monotonic() + _OUT_S
    while time.monotonic() < deadline:
        pods = {each["metadata"]["name"] for each in cluster.list("v1", "Pod", selector)}
        if not pods & _endpoints(cluster, name):
            return
        time.sleep(_POLL_S)
