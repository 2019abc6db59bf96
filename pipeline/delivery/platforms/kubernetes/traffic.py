"""Which track gets which part of the requests: by the number of pods, or by the weights of a gateway's route; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, Protocol

from pipeline.delivery.platforms.kubernetes.manifests import ROUTES, Manifest, route, selector_of, service
from pipeline.delivery.platforms.kubernetes.pod_settings import service_port
from pipeline.spec.canary_weights import require_replicas
from pipeline.spec.object_names import BASELINE, CANARY
from pipeline.spec.schema.deploy import Deploy, Gateway

Object = Mapping[str, Any]

_NEEDED = ("Accepted", "ResolvedRefs")
"""Conditions of a route that must hold; without the second, a Service that the gateway cannot find answers with 500."""

TRACKS = (CANARY, BASELINE)
"""Of a rollout, in the order in which they are taken away."""


class Traffic(Protocol):
    """One way to divide requests among the stable pods, the canary's and its baseline's."""

    def pods(self, weight: int, stable: int, largest: int) -> int:
        """Compute the number of pods that the canary needs, and as many for its baseline.

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
        """Build what else must be applied for a weight."""

    def service(self, track: str) -> str:
        """Name the Service of a track's pods."""

    def lacking(self, route: Object | None) -> str | None:
        """Say why requests are not divided by the weights; None if they are.

        Parameters
        ----------
        route : mapping or None
            The HTTPRoute of the model, as the cluster has it.
        """

    def is_behind(self, route: Object | None) -> bool:
        """Tell whether the requests are still divided as the route said before."""


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

    def lacking(self, route: Object | None) -> str | None:
        del route
        return None

    def is_behind(self, route: Object | None) -> bool:
        del route
        return False


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

    def lacking(self, route: Object | None) -> str | None:
        """Say why the gateway does not follow the route: it has not seen it, or refuses it or one of its Services."""
        gateway = f"the gateway {self._gateway.namespace or self._deploy.namespace}/{self._gateway.name}"
        conditions = self._conditions(route)
        if route is None or "Accepted" not in conditions:
            return f"{gateway} did not accept the HTTPRoute {self._name}"
        for kind, each in conditions.items():
            if _is_old(each, route):
                return f"{gateway} had not followed the HTTPRoute {self._name} yet"
            if each["status"] != "True":
                said = ": ".join(filter(None, (each["reason"], each.get("message"))))
                return f"{gateway} refused the HTTPRoute {self._name} ({kind} is {each['status']}, {said})"
        return None

    def is_behind(self, route: Object | None) -> bool:
        found = self._conditions(route).get("Accepted")
        return route is not None and found is not None and found["status"] == "True" and _is_old(found, route)

    def _conditions(self, route: Object | None) -> Mapping[str, Object]:
        """Read what the spec's own gateway says of the route; others may report on it too."""
        status: Object = (route or {}).get("status") or {}
        ours = (self._gateway.name, self._gateway.namespace or self._deploy.namespace)
        return {
            each["type"]: each
            for parent in status.get("parents", ())
            if (parent["parentRef"]["name"], parent["parentRef"].get("namespace", self._deploy.namespace)) == ours
            for each in parent.get("conditions", ())
            if each["type"] in _NEEDED
        }


def _is_old(condition: Object, route: Object) -> bool:
    now = route["metadata"]["generation"]
    return bool(condition.get("observedGeneration", now) < now)


def _make(api: str, kind: str, name: str, deploy: Deploy, labels: Mapping[str, str], spec: Manifest) -> Manifest:
    about = {"name": name, "namespace": deploy.namespace, "labels": dict(labels)}
    return {"apiVersion": api, "kind": kind, "metadata": about, "spec": spec}


def traffic_of(name: str, deploy: Deploy, labels: Mapping[str, str]) -> Traffic:
    """Choose the way to divide requests that a spec asks for."""
    tracks = (CANARY,) if deploy.strategy == "shadow" else TRACKS
    if deploy.gateway:
        return _ByGateway(name, deploy, deploy.gateway, labels, tracks)
    return _ByPods(name, deploy, labels, tracks)
