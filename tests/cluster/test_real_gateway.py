"""Canaries by the weights of an HTTPRoute, through a gateway's own software, asked from outside the cluster.

It needs a Gateway that takes routes of all namespaces and has an address that this machine reaches. With Traefik on
this machine (no image is needed), after the types of ``sigs.k8s.io/gateway-api`` (``config/crd/standard``)::

    traefik --providers.kubernetesgateway --providers.kubernetesgateway.statusaddress.ip=127.0.0.1 \
        --entrypoints.web.address=127.0.0.1:8088

    kind: GatewayClass  {name: traefik}   spec: {controllerName: traefik.io/gateway-controller}
    kind: Gateway       {name: public}    spec: {gatewayClassName: traefik, listeners: [{name: web, protocol: HTTP,
                                                 port: 8088, allowedRoutes: {namespaces: {from: All}}}]}
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import AbortedError, DeploymentError
from tests.delivery.rollouts.candidates import SLOPE
from tests.serving.bundles import line_graph

from .callers import Callers, calling, dropped
from .conftest import kubectl, wait_until
from .lines import NAME, Line, as_deployer, line_in
from .test_canaries import start

GATEWAY = os.environ.get("MODELRAIL_TEST_GATEWAY", "")
REASON = (
    "no gateway: set MODELRAIL_TEST_GATEWAY to NAMESPACE/NAME of one that takes routes of all namespaces and whose"
    " address this machine reaches"
)
pytestmark = pytest.mark.skipif(not GATEWAY, reason=REASON)

FOLLOWS_WITHIN_S = 5.0
"""A gateway may say that it has accepted a route before it does as the route says; Traefik takes up to 2 s."""


@dataclass
class Routed:
    """A model behind the gateway."""

    line: Line
    address: str
    host: str

    def canary(self, **canary: Any) -> Line:
        namespace, name = GATEWAY.split("/")
        gateway = {"name": name, "namespace": namespace, "hostnames": [self.host]}
        return self.line.with_canary(**canary).with_deploy(gateway=gateway)

    def calling(self, first: str, **changes: Any) -> Any:
        return calling(self.address, {"host": self.host}, first, **changes)


@pytest.fixture
def routed(namespace: str, serving_image: str, tmp_path: Path) -> Routed:
    """Return a model whose first release is live behind the gateway."""
    where, name = GATEWAY.split("/")
    gateway = json.loads(kubectl(where, "get", "gateway", name, "--output", "json"))
    address, port = gateway["status"]["addresses"][0]["value"], gateway["spec"]["listeners"][0]["port"]
    made = Routed(line_in(namespace, serving_image, tmp_path), f"{address}:{port}", f"{namespace}.test")
    made.canary().deploy("1.0.0")
    return made


@dataclass
class Watched:
    """The weights that the route had, and from when on (by the monotonic clock)."""

    found: list[tuple[float, dict[str, int]]] = field(default_factory=list)

    def phases(self) -> Iterator[tuple[int, float, float]]:
        """Yield the canary's weight, and when it began to be in force and ended, for each weight but the last."""
        for (began, weights), (ended, _) in zip(self.found, self.found[1:], strict=False):
            yield weights.get(f"{NAME}-canary", 0), began + FOLLOWS_WITHIN_S, ended


@contextmanager
def watching(line: Line) -> Iterator[Watched]:
    """Follow the route's weights until the block ends."""
    watched = Watched()
    command = ["kubectl", "--namespace", line.target.spec.deploy.namespace, "get", "httproute", NAME, "--watch"]
    way = ["--output", 'jsonpath={.spec.rules[0].backendRefs}{"\\n"}']
    with subprocess.Popen([*command, *way], stdout=subprocess.PIPE, text=True) as process:

        def read() -> None:
            assert process.stdout is not None
            for text in process.stdout:
                weights = {each["name"]: each["weight"] for each in json.loads(text)}
                if not watched.found or watched.found[-1][1] != weights:
                    watched.found.append((time.monotonic(), weights))

        reading = threading.Thread(target=read)
        reading.start()
        try:
            wait_until(lambda: watched.found, "the route")
            yield watched
        finally:
            process.terminate()
            reading.join()


def require_share(callers: Callers, version: str, weight: int, since: float, until: float) -> None:
    """Require that a version answered its part of the requests, within four standard deviations."""
    counted = callers.counted(since, until)
    total, part = counted.total(), weight / 100
    assert total > 500, f"only {total} requests in {until - since:.0f} s"
    margin = 4 * sqrt(part * (1 - part) / total)
    said = f"{counted[version]} of {total} requests at a weight of {weight}"
    print(said)
    assert abs(counted[version] / total - part) <= margin, said


STEPS = [{"weight": 5, "hold_s": 20}, {"weight": 25, "hold_s": 15}]


def test_each_weight_is_the_candidate_s_share_until_it_is_promoted_and_taken_back(routed: Routed) -> None:
    line = routed.canary(steps=STEPS, min_requests=100)
    with routed.calling("1.0.0") as callers, watching(line) as watched:
        assert line.deploy("2.0.0").replaced == "1.0.0"
        ended = time.monotonic()
        wait_until(lambda: callers.counted(ended)["2.0.0"] > 500, "answers of the new release")
        for weight, since, until in watched.phases():
            require_share(callers, "2.0.0", weight, since, until)
        assert [weight for weight, _, _ in watched.phases()] == [0, 5, 25]
        began = time.monotonic()
        assert line.deploy("1.0.0", at_once=True).replaced == "2.0.0"
        ended = time.monotonic() + FOLLOWS_WITHIN_S
        wait_until(lambda: callers.counted(ended)["1.0.0"] > 500, "answers of the old release")
        assert callers.counted(ended)["2.0.0"] == 0
    assert ended - began < 60
    assert line.tracks() == {NAME: 1}
    assert dropped(callers.counted()) == {}


def test_an_aborted_canary_is_asked_no_more_and_no_request_is_dropped(routed: Routed) -> None:
    line = routed.canary(steps=[{"weight": 20, "hold_s": 5}])
    with routed.calling("1.0.0") as callers:
        with pytest.raises(AbortedError, match=r"aborted: outputs: "):
            line.deploy("2.0.0", line_graph(1.2 * SLOPE))
        ended = time.monotonic()
        wait_until(lambda: callers.counted(ended)["1.0.0"] > 500, "answers of what is live")
    assert callers.counted(ended)["2.0.0"] == 0
    assert callers.counted()["2.0.0"] > 20, "it was asked"
    assert line.tracks() == {NAME: 1}
    assert dropped(callers.counted()) == {}


def test_the_deployer_s_account_has_the_rights_for_it(routed: Routed) -> None:
    line = routed.canary(steps=[{"weight": 5, "hold_s": 0}], min_requests=20)
    with routed.calling("1.0.0") as callers, start(line, "2.0.0", kubeconfig=as_deployer(line)) as process:
        _, said = process.communicate()
        assert process.returncode == 0, said
    assert line.live() == "2.0.0"
    assert dropped(callers.counted()) == {}


def test_a_shadow_answers_nobody_at_its_weight(routed: Routed) -> None:
    step = {"steps": [{"weight": 60, "hold_s": 10}], "metrics": {"errors": 0.01, "outputs": 0.25}}
    line = routed.canary(**step).with_deploy(strategy="shadow")
    with routed.calling("1.0.0") as callers:
        with pytest.raises(AbortedError, match=r"aborted: outputs: .*; v1.0.0 stays live"):
            line.deploy("2.0.0", line_graph(1.2 * SLOPE))
        assert set(callers.counted()) == {"1.0.0"}
        assert line.deploy("3.0.0").replaced == "1.0.0"
        wait_until(lambda: callers.counted()["3.0.0"] > 100, "answers of the new release")
    assert dropped(callers.counted()) == {}


def test_a_route_that_the_gateway_refuses_says_why(routed: Routed) -> None:
    line = routed.canary(steps=STEPS, deadline_s=12)
    elsewhere = line.with_deploy(gateway={"name": "none-of-that-name", "namespace": GATEWAY.split("/")[0]})
    with pytest.raises(DeploymentError, match=r"not ready: the gateway .*/none-of-that-name did not accept .* when"):
        elsewhere.deploy("2.0.0")
    assert line.tracks() == {NAME: 1}
