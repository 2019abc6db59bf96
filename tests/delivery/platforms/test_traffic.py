"""Who gets which part of the requests of a canary, as objects of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.canary_objects import baseline_of, scaled, shadow_of
from pipeline.delivery.platforms.kubernetes.manifests import TRACK
from pipeline.delivery.platforms.kubernetes.traffic import traffic_of
from pipeline.errors import InputError
from pipeline.spec.schema.deploy import Deploy

from .test_manifests import render

GATEWAY = Deploy.model_validate({"namespace": "prod", "gateway": {"name": "public", "namespace": "edge"}})


def weights(objects: Any) -> dict[str, int]:
    (route,) = [each for each in objects if each["kind"] == "HTTPRoute"]
    return {each["name"]: each["weight"] for each in route["spec"]["rules"][0]["backendRefs"]}


def test_by_pods_a_weight_is_a_number_of_pods_that_the_service_knows() -> None:
    traffic = traffic_of("m", Deploy(), {})
    assert [traffic.pods(weight, 3, 33) for weight in (0, 20, 33)] == [0, 1, 3]
    assert traffic.objects(0) == ()
    (service,) = traffic.objects(20)
    assert service["spec"]["selector"] == {"app.kubernetes.io/name": "m"}
    assert traffic.service("canary") == "m"
    assert traffic.lacking(None) is None
    assert not traffic.is_behind(None)
    with pytest.raises(InputError, match="found the weight 10; expected a weight that 3 stable pods leave room for"):
        traffic.pods(10, 3, 33)


def test_by_a_gateway_any_weight_is_reached_and_the_baseline_gets_as_much() -> None:
    traffic = traffic_of("m", GATEWAY, {"a": "b"})
    assert [traffic.pods(weight, 3, 40) for weight in (0, 1, 40)] == [2, 2, 2]
    assert weights(traffic.objects(1)) == {"m": 98, "m-baseline": 1, "m-canary": 1}
    assert weights(traffic.objects(50)) == {"m": 0, "m-baseline": 50, "m-canary": 50}
    assert weights(traffic.objects(0)) == {"m": 100}
    services = {
        each["metadata"]["name"]: each["spec"]["selector"] for each in traffic.objects(1) if each["kind"] == "Service"
    }
    assert {name: selector[TRACK] for name, selector in services.items()} == {
        "m-canary": "canary",
        "m-baseline": "baseline",
    }


def said(kind: str, status: str = "True", observed: int = 3, **more: str) -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": observed, "reason": "Because"} | more


@pytest.mark.parametrize(
    ("conditions", "lacking"),
    [
        ([said("Accepted")], None),
        ([said("Accepted"), said("ResolvedRefs")], None),
        ([said("Accepted"), said("SomethingElse", "False")], None),
        ([], "the gateway edge/public did not accept the HTTPRoute m"),
        ([said("Accepted", observed=2)], "the gateway edge/public had not followed the HTTPRoute m yet"),
        (
            [said("Accepted"), said("ResolvedRefs", observed=2)],
            "the gateway edge/public had not followed the HTTPRoute m yet",
        ),
        (
            [said("Accepted", "False", reason="NotAllowedByListeners")],
            "the gateway edge/public refused the HTTPRoute m (Accepted is False, NotAllowedByListeners)",
        ),
        (
            [said("Accepted"), said("ResolvedRefs", "False", message="no such Service")],
            "the gateway edge/public refused the HTTPRoute m (ResolvedRefs is False, Because: no such Service)",
        ),
    ],
)
def test_a_route_counts_once_its_gateway_has_accepted_it_as_it_is(conditions: Any, lacking: str | None) -> None:
    parent = {"parentRef": {"name": "public", "namespace": "edge"}, "conditions": conditions}
    found = {"metadata": {"generation": 3}, "status": {"parents": [parent]}}
    assert traffic_of("m", GATEWAY, {}).lacking(found) == lacking


@pytest.mark.parametrize("parent", [{"name": "public"}, {"name": "other", "namespace": "edge"}])
def test_what_another_gateway_says_of_a_route_does_not_count(parent: Any) -> None:
    found = {
        "metadata": {"generation": 3},
        "status": {"parents": [{"parentRef": parent, "conditions": [said("Accepted")]}]},
    }
    assert traffic_of("m", GATEWAY, {}).lacking(found) == "the gateway edge/public did not accept the HTTPRoute m"
    assert traffic_of("m", GATEWAY, {}).lacking(None) == "the gateway edge/public did not accept the HTTPRoute m"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([said("Accepted", observed=2)], True),
        ([said("Accepted", "False", observed=2)], False),
        ([said("Accepted")], False),
        ([], False),
    ],
)
def test_a_gateway_that_has_accepted_a_route_is_behind_until_it_has_seen_it_as_it_is(
    conditions: Any, expected: Any
) -> None:
    parent = {"parentRef": {"name": "public", "namespace": "edge"}, "conditions": conditions}
    found = {"metadata": {"generation": 3}, "status": {"parents": [parent]}}
    assert traffic_of("m", GATEWAY, {}).is_behind(found) is expected
    assert not traffic_of("m", GATEWAY, {}).is_behind(None)


def test_with_a_gateway_the_service_knows_the_stable_pods_alone() -> None:
    made = render(gateway={"name": "public"})
    assert made["Service"]["spec"]["selector"][TRACK] == "stable"
    assert weights(made.values()) == {"line-1--81e7f47d": 100}
    assert TRACK not in render()["Service"]["spec"]["selector"]


def test_a_shadow_is_what_is_live_with_the_candidate_s_model_copied_in() -> None:
    stable = render()["Deployment"]
    pod = shadow_of(stable, "r.example/m@sha256:2")["spec"]["template"]["spec"]
    (copy,), (server,) = pod["initContainers"], pod["containers"]
    assert copy["image"] == "r.example/m@sha256:2"
    assert copy["securityContext"] == server["securityContext"]
    assert server["image"] == stable["spec"]["template"]["spec"]["containers"][0]["image"]
    assert server["args"][-2:] == ["--bundle", "shadow:1.0:/shadow"]
    assert {each["mountPath"] for each in server["volumeMounts"]} >= {"/shadow"}
    shadow = Deploy.model_validate({"strategy": "shadow", "gateway": {"name": "public"}})
    assert weights(traffic_of("m", shadow, {}).objects(60)) == {"m": 40, "m-canary": 60}


def test_a_baseline_is_what_is_live_under_another_name_and_track() -> None:
    stable = render()["Deployment"]
    found = {**stable, "status": {"replicas": 3}}
    found["metadata"] = {**stable["metadata"], "resourceVersion": "7", "managedFields": []}
    baseline = scaled(baseline_of(found), 2)
    assert baseline["spec"]["replicas"] == 2
    assert baseline["metadata"]["name"] == f"{stable['metadata']['name']}-baseline"
    assert "resourceVersion" not in baseline["metadata"]
    assert "status" not in baseline
    assert "stable" not in str(baseline["spec"])
    assert baseline["spec"]["template"]["spec"]["containers"] == stable["spec"]["template"]["spec"]["containers"]
