"""Who gets which part of the requests: by the number of pods, or by the weights of a gateway's route; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Protocol

from pipeline.deployment.manifests import BASELINE, CANARY, ROUTES, Manifest, route, selector_of, service
from pipeline.deployment.pod_settings import service_port
from pipeline.rollouts.weights import require_replicas
from pipeline.spec.schema_deploy import Deploy, Gateway

Object = Mapping[str, Any]

TRACKS = (CANARY, BASELINE)
"""Of a rollout, in the order in which they are taken away."""


class Traffic(Protocol):
    """One way to divide requests among the stable pods, the canary's and its baseline's."""

    def pods(self, weight: int, stable: int, largest: int) -> int:
        """Give the number of pods that the canary needs, and its baseline.

        Parameters
        ----------
        weight, largest : int
            Percent of the requests: now, and in the last step.
        stable : int
            Number of stable pods.

        Raises
        ------
        InputError
            If the weight cannot be reached.
        """

    def objects(self, weight: int) -> Sequence[Manifest]:
        """Give what else must be applied for a weight."""

    def service(self, track: str) -> str:
        """Give the Service that knows a track's pods."""

    def is_in_force(self, route: Object | None) -> bool:
        """Tell whether the weights are what is done; `route` is the HTTPRoute of the model, if there is one."""


class _ByPods:
    """A Service sends each of its pods as much as the next, so the numbers of pods are the weights."""

    def __init__(self, name: str, deploy: Deploy, labels: Mapping[str, str], tracks: Sequence[str]) -> None:
        self._name, self._deploy, self._labels, self._tracks = name, deploy, labels, tracks

    def pods(self, weight: int, stable: int, largest: int) -> int:
        del largest
        return require_replicas(weight, stable, len(self._tracks)) if weight else 0

    def objects(self, weight: int) -> Sequence[Manifest]:
        spec = service(selector_of(self._name), self._deploy.service, service_port(self._deploy))
        return (_make("v1", "Service", self._name, self._deploy, self._labels, spec),) if weight else ()

    def service(self, track: str) -> str:
        del track
        return self._name

    def is_in_force(self, route: Object | None) -> bool:
        del route
        return True


class _ByGateway:
    """An HTTPRoute gives each Service its weight; both tracks have one, and as many pods as in the last step."""

    def __init__(
        self, name: str, deploy: Deploy, gateway: Gateway, labels: Mapping[str, str], tracks: Sequence[str]
    ) -> None:
        self._name, self._deploy, self._gateway, self._labels, self._tracks = name, deploy, gateway, labels, tracks

    def pods(self, weight: int, stable: int, largest: int) -> int:
        del weight
        return ceil(stable * largest / 100)

    def objects(self, weight: int) -> Sequence[Manifest]:
        specs = {self.service(track): service(selector_of(self._name, track)) for track in self._tracks}
        way = route(self._name, self._gateway, weight, self._tracks)
        return [
            *(_make("v1", "Service", name, self._deploy, self._labels, spec) for name, spec in specs.items()),
            _make(ROUTES, "HTTPRoute", self._name, self._deploy, self._labels, way),
        ]

    def service(self, track: str) -> str:
        return f"{self._name}-{track}"

    def is_in_force(self, route: Object | None) -> bool:
        """Tell whether a gateway has accepted the route as it is now."""
        if route is None:
            return False
        parents, now = route.get("status", {}).get("parents", ()), route["metadata"]["generation"]
        conditions = [each for parent in parents for each in parent.get("conditions", ()) if each["type"] == "Accepted"]
        return any(each["status"] == "True" and each.get("observedGeneration", now) >= now for each in conditions)


def _make(api: str, kind: str, name: str, deploy: Deploy, labels: Mapping[str, str], spec: Manifest) -> Manifest:
    about = {"name": name, "namespace": deploy.namespace, "labels": dict(labels)}
    return {"apiVersion": api, "kind": kind, "metadata": about, "spec": spec}


def traffic_of(name: str, deploy: Deploy, labels: Mapping[str, str]) -> Traffic:
    """Give the way that a spec chooses."""
    tracks = (CANARY,) if deploy.strategy == "shadow" else TRACKS
    if deploy.gateway:
        return _ByGateway(name, deploy, deploy.gateway, labels, tracks)
    return _ByPods(name, deploy, labels, tracks)
