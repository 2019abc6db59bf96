"""A candidate on a cluster, tried next to the stable pods: as a canary with its baseline, or as a shadow.

The stable Deployment is not touched before the candidate is promoted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.platforms.kubernetes.canary_objects import baseline_of, canary_of, scaled, shadow_of, version_of
from pipeline.delivery.platforms.kubernetes.cluster import Cluster
from pipeline.delivery.platforms.kubernetes.leases import Lease, LostError
from pipeline.delivery.platforms.kubernetes.manifests import APPS, ROUTES, TRACK, Manifest, labels_of, selector_of
from pipeline.delivery.platforms.kubernetes.owning import get_own, is_own
from pipeline.delivery.platforms.kubernetes.pod_settings import scheme
from pipeline.delivery.platforms.kubernetes.rolling import alive, serving_pods
from pipeline.delivery.platforms.kubernetes.traffic import TRACKS, Traffic, traffic_of
from pipeline.delivery.platforms.kubernetes.troubles import diagnose
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Release
from pipeline.delivery.rollouts.deciding import Rollout
from pipeline.delivery.rollouts.driving import Sight, drive
from pipeline.delivery.rollouts.readings import read_metrics, total
from pipeline.errors import DeploymentError, InputError
from pipeline.spec.object_names import BASELINE, CANARY, name_of
from pipeline.spec.schema.deploy import Canary

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
    """Make a release live if it does no worse than what is live; continue where a killed process stopped.

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
    """Take all requests from a canary, then remove its pods and its baseline's; nothing happens if there is none.

    Both Deployments stay, without pods: who deploys may not remove any.
    """
    name, traffic = name_of(target.model), _traffic(target)
    lease.check()
    known = [get_own(cluster, target, (APPS, "Deployment", f"{name}-{track}")) for track in TRACKS]
    found = [each for each in known if each and (each["spec"]["replicas"] or each.get("status", {}).get("replicas"))]
    if found:
        for each in traffic.objects(0):
            if not _is_others(cluster, target, each):  # a track's Service that is no longer asked for need not be ours
                cluster.apply(each)
        _await(lambda: not traffic.is_behind(_route(cluster, target)))
    for each in found:
        cluster.apply(scaled(each, 0))
        track = each["spec"]["selector"]["matchLabels"][TRACK]
        _await_out(cluster, traffic.service(track), selector_of(name, track))
    if lease.written is not None:
        lease.write(None)


class _Tracks:
    """The canary and its baseline, next to the stable Deployment."""

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
        self._release, self._image, self._way = release, image, WAYS[target.spec.deploy.strategy]

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
        for each in self._way.deployments(stable, self._target, self._release, self._image):
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
        pods = {track: self._pods(track) for track in self._way.tracks}
        trouble = diagnose(pods[CANARY])
        known = {name for track in pods for name in _endpoints(self._cluster, self._traffic.service(track))}
        ready = all(len(names(each)) == count and names(each) <= known for each in pods.values())
        lacking = self._traffic.lacking(_route(self._cluster, self._target)) if ready else None
        texts = {track: self._metrics(names(each) & known) for track, each in pods.items()}
        model, candidate = self._target.model, str(self._release.version)
        return Sight(
            ready and not lacking,
            total(read_metrics(text, model, candidate, self._way.counted_as) for text in texts[CANARY]),
            total(read_metrics(text, model, stable) for text in texts[self._way.tracks[-1]]),
            trouble.say if trouble and trouble.final else None,
            f"{Sight.missing}: {lacking}" if lacking else Sight.missing,
        )

    def _pods(self, track: str) -> Sequence[Object]:
        found = self._cluster.list("v1", "Pod", selector_of(self._name, track))
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def _metrics(self, pods: Iterable[str]) -> list[str]:
        return [self._cluster.metrics(name, self._deploy.port, scheme(self._deploy)) for name in sorted(pods)]


@dataclass(frozen=True)
class Way:
    """How a candidate is tried.

    Attributes
    ----------
    deployments : callable
        What is live, the target, the release and its image → the further Deployments.
    tracks : tuple of str
        Whose pods there are: the candidate's first, and last those in which what is live is measured.
    counted_as : str
        The server's own word for the candidate, in what it counts.
    """

    deployments: Callable[[Object, Target, Release, str], tuple[Manifest, ...]]
    tracks: tuple[str, ...]
    counted_as: str


WAYS: Mapping[str, Way] = {
    "canary": Way(
        lambda stable, target, release, image: (canary_of(target, release, image), baseline_of(stable)),
        (CANARY, BASELINE),
        "live",
    ),
    "shadow": Way(lambda stable, _target, _release, image: (shadow_of(stable, image),), (CANARY,), "shadow"),
}
"""The strategies that try a candidate."""


def names(pods: Iterable[Object]) -> set[str]:
    """List the names of pods that run."""
    return {each["metadata"]["name"] for each in pods if alive(each)}


def _traffic(target: Target) -> Traffic:
    labels = labels_of(target.model, target.environment)
    return traffic_of(name_of(target.model), target.spec.deploy, labels)


def _is_others(cluster: Cluster, target: Target, manifest: Manifest) -> bool:
    found = cluster.get(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])
    return found is not None and not is_own(found, target.model, target.environment)


def _endpoints(cluster: Cluster, name: str) -> set[str]:
    return serving_pods(cluster.list("discovery.k8s.io/v1", "EndpointSlice", {"kubernetes.io/service-name": name}))


def _route(cluster: Cluster, target: Target) -> Object | None:
    return cluster.get(ROUTES, "HTTPRoute", name_of(target.model)) if target.spec.deploy.gateway else None


def _await_out(cluster: Cluster, name: str, selector: Mapping[str, str]) -> None:
    """Wait until the Service knows none of these pods any more."""

    def is_out() -> bool:
        pods = {each["metadata"]["name"] for each in cluster.list("v1", "Pod", selector)}
        return not pods & _endpoints(cluster, name)

    _await(is_out)


def _await(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a limited time: the deployment goes on in any case."""
    deadline = time.monotonic() + _OUT_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(_POLL_S)
