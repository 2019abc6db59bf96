"""A canary by the weights of an HTTPRoute, on the real types of the Gateway API.

What reads the route and divides the requests is a stand-in here: it accepts the route as it stands, as a gateway's
controller does, and sends each request to a Service by its weight.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipeline.delivery.platforms.platforms import platform_of
from pipeline.errors import AbortedError, DeploymentError
from tests.delivery.rollouts.candidates import SLOPE
from tests.serving.bundles import line_graph

from .conftest import bring_type, wait_until
from .lines import NAME, Line
from .test_canaries import line

__all__ = ["line"]

MODULE, CRD = "sigs.k8s.io/gateway-api@v1.4.0", "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"


@pytest.fixture(scope="session")
def gateway_api() -> None:
    """Bring the type HTTPRoute to the cluster."""
    bring_type(MODULE, CRD, "httproutes.gateway.networking.k8s.io")


@dataclass
class StandIn:
    """What a gateway does with a route."""

    line: Line
    weights: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, int]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)

    def read(self) -> None:
        """Follow the route as it is, and only then accept it, for then nothing is sent by the one before."""
        found = self.line.get("httproutes")["items"]
        if not found:
            return
        (route,) = found
        services = {each["metadata"]["name"]: each["spec"]["clusterIP"] for each in self.line.get("services")["items"]}
        weights = {each["name"]: each["weight"] for each in route["spec"]["rules"][0]["backendRefs"]}
        if weights != (self.history or [None])[-1]:
            self.history.append(weights)
        self.weights = {services[name]: weight for name, weight in weights.items()}
        self.accept(route)

    def accept(self, route: Any) -> None:
        condition = {
            "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": route["metadata"]["generation"],
        }  # fmt: skip
        parent = {
            "parentRef": route["spec"]["parentRefs"][0],
            "controllerName": "test/gateway",
            "conditions": [condition],
        }
        patch = json.dumps({"status": {"parents": [parent]}})
        self.line.kubectl("patch", "httproute", NAME, "--subresource=status", "--type=merge", "--patch", patch)

    def ask(self) -> None:
        weights = self.weights
        (address,) = random.choices(list(weights), list(weights.values()))
        connection = http.client.HTTPConnection(address, timeout=20)
        try:
            connection.request("POST", "/api/predict", json.dumps({"inputs": [[random.random()]]}))
            answer = connection.getresponse()
            content = answer.read()
            self.answered[json.loads(content)["version"] if answer.status == 200 else f"status {answer.status}"] += 1
        except (OSError, http.client.HTTPException) as error:
            self.answered[f"dropped: {error!r}"] += 1
        finally:
            connection.close()


@contextmanager
def standing_in(line: Line) -> Iterator[StandIn]:
    """Let requests go by the route until the block ends."""
    gateway, over = StandIn(line), threading.Event()

    def follow() -> None:
        while not over.wait(0.2):
            gateway.read()

    def ask() -> None:
        while not over.wait(0.005):
            if gateway.weights:
                gateway.ask()

    running = [threading.Thread(target=each) for each in (follow, ask, ask, ask)]
    for each in running:
        each.start()
    try:
        wait_until(lambda: gateway.answered["1.0.0"] > 20, "answers by the gateway")
        yield gateway
    finally:
        over.set()
        for each in running:
            each.join()


def with_gateway(line: Line, **canary: Any) -> Line:
    return line.with_canary(**canary).with_deploy(gateway={"name": "public"})


STEPS = [{"weight": 10, "hold_s": 3}, {"weight": 40, "hold_s": 3}]


def test_a_route_gives_each_track_its_weight_until_the_candidate_is_promoted(gateway_api: None, line: Line) -> None:
    routed = with_gateway(line, steps=STEPS, min_requests=100)
    routed.deploy("1.0.0")
    with standing_in(line) as gateway:
        assert routed.deploy("2.0.0").replaced == "1.0.0"
        wait_until(lambda: gateway.weights and len(gateway.weights) == 1, "the route to end at what is live")
        wait_until(lambda: gateway.answered["2.0.0"] > 300, "answers of the new release")
    alone, both = {NAME: 100}, (NAME, f"{NAME}-baseline", f"{NAME}-canary")
    steps = [dict(zip(both, parts, strict=True)) for parts in ((80, 10, 10), (20, 40, 40))]
    assert gateway.history == [alone, *steps, alone]
    assert line.tracks() == {NAME: 1}
    assert {name for name in gateway.answered if name.startswith(("dropped", "status"))} == set()
    platform_of(routed.target.spec).stop(routed.target)
    assert routed.get("httproutes,services,deployments,leases")["items"] == [], "nor any of its tracks"


def test_an_aborted_canary_loses_its_weight_first(gateway_api: None, line: Line) -> None:
    routed = with_gateway(line, steps=STEPS, min_requests=100)
    routed.deploy("1.0.0")
    with standing_in(line) as gateway:
        with pytest.raises(AbortedError, match=r"aborted: outputs: "):
            routed.deploy("2.0.0", line_graph(1.2 * SLOPE))
        before = gateway.answered["2.0.0"]
        wait_until(lambda: gateway.answered["1.0.0"] > 500, "answers of what is live")
    assert gateway.history[-1] == {NAME: 100}
    assert gateway.answered["2.0.0"] - before < 5, "those under way"
    assert {name for name in gateway.answered if name.startswith(("dropped", "status"))} == set()


def test_a_route_that_no_gateway_accepts_is_waited_for_until_the_deadline(gateway_api: None, line: Line) -> None:
    routed = with_gateway(line, steps=STEPS, deadline_s=12)
    routed.deploy("1.0.0")
    began = time.monotonic()
    with pytest.raises(DeploymentError, match=r"not ready: the gateway .*/public did not accept .* when the deadline"):
        routed.deploy("2.0.0")
    assert time.monotonic() - began < 60
    assert line.tracks() == {NAME: 1}
