"""What a release is on Kubernetes, and who may deploy it."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.delivery.platforms.kubernetes.access import deployer
from pipeline.delivery.platforms.kubernetes.manifests import MONITORING, Manifest, manifests, to_yaml
from pipeline.delivery.platforms.kubernetes.scaling import replicas_to_apply
from pipeline.spec.object_names import name_of
from pipeline.spec.schema.deploy import Autoscale
from pipeline.spec.schema.spec import Spec

from .test_platforms import make_release

IMAGE = f"r.example/models/line@sha256:{'1' * 64}"


def render(apis: frozenset[str] = frozenset(), replicas: int | None = None, **deploy: Any) -> dict[str, Manifest]:
    spec = Spec.model_validate(
        {
            "model": {"name": "Line_1", "trainer": "linear_regression", "target": "y"},
            "environment": {"platform": "kubernetes"},
            "deploy": {"image": {"base": "r.example/s:1", "repository": "r.example/models"}, **deploy},
        }
    )
    made = manifests(spec, make_release(), "prod", IMAGE, replicas=replicas, apis=apis)
    return {each["kind"]: each for each in made}


def pod_of(found: dict[str, Manifest]) -> Manifest:
    pod: Manifest = found["Deployment"]["spec"]["template"]["spec"]
    return pod


def test_a_release_has_all_that_a_cluster_needs_to_run_it_safely() -> None:
    found = render()
    assert list(found) == [
        "ServiceAccount",
        "ConfigMap",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "Deployment",
    ]
    assert {each["metadata"]["name"] for each in found.values()} == {"line-1--81e7f47d"}
    pod = pod_of(found)
    (server,) = pod["containers"]
    assert server["image"] == IMAGE
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is found["ServiceAccount"]["automountServiceAccountToken"] is False
    assert server["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert server["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert pod["terminationGracePeriodSeconds"] > 5
    assert found["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert found["Service"]["spec"]["ports"][0]["port"] == 80
    assert found["NetworkPolicy"]["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in found["NetworkPolicy"]["spec"], "nothing is allowed out"


def test_every_commit_stands_on_the_deployment_and_on_its_pods() -> None:
    found = render()["Deployment"]
    for notes in (found["metadata"]["annotations"], found["spec"]["template"]["metadata"]["annotations"]):
        assert notes["modelrail.dev/data-commit"] == "d" * 40
        assert notes["modelrail.dev/spec-commit"] == "5" * 40
        assert notes["modelrail.dev/image"] == IMAGE


def test_what_is_not_asked_for_is_not_made() -> None:
    assert "lifecycle" not in pod_of(render(drain_s=0))["containers"][0]
    assert "ServiceMonitor" in render(frozenset({MONITORING}))
    pull = {"base": "r.example/s:1", "repository": "r.example/m", "pull_secret": "key"}
    assert render(image=pull)["ServiceAccount"]["imagePullSecrets"] == [{"name": "key"}]
    assert render(service="LoadBalancer")["Service"]["spec"]["type"] == "LoadBalancer"


def test_pods_start_anew_when_the_settings_change() -> None:
    one, two = (render(workers=n)["Deployment"]["spec"]["template"]["metadata"]["annotations"] for n in (1, 2))
    assert one["modelrail.dev/settings"] != two["modelrail.dev/settings"]


def test_an_autoscaler_decides_how_many_replicas_there_are() -> None:
    found = render(autoscale={"max_replicas": 3, "cpu": 0.7, "metrics": {"requests": "10"}})
    assert "replicas" not in found["Deployment"]["spec"]
    scaler = found["HorizontalPodAutoscaler"]["spec"]
    assert scaler["metrics"][0]["resource"] == {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70},
    }
    assert scaler["metrics"][1]["pods"]["target"] == {"type": "AverageValue", "averageValue": "10"}
    assert scaler["behavior"]["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 15}]
    assert render(replicas=3)["Deployment"]["spec"]["replicas"] == 3


AUTOSCALE = Autoscale(min_replicas=2, max_replicas=4, cpu=0.5)


def deployment(replicas: int, manager: str, subresource: str | None = None) -> Manifest:
    entry = {"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    entry |= {"subresource": subresource} if subresource else {}
    return {"metadata": {"managedFields": [entry]}, "spec": {"replicas": replicas}}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, 2),
        (deployment(3, "kube-controller-manager", "scale"), None),
        (deployment(3, "modelrail"), 3),
        (deployment(9, "modelrail"), 4),
        (deployment(1, "modelrail"), 2),
    ],
)
def test_the_number_of_replicas_is_let_go_of_once_the_autoscaler_owns_it(
    found: Manifest | None, expected: int | None
) -> None:
    assert replicas_to_apply(found, AUTOSCALE, "modelrail") == expected
    assert replicas_to_apply(found, None, "modelrail") is None


def test_manifests_are_yaml_that_people_and_clusters_read() -> None:
    objects = list(render().values())
    text = to_yaml(objects)
    assert list(YAML(typ="safe").load_all(text)) == objects
    assert "&id" not in text


@pytest.mark.parametrize(
    ("model", "name"),
    [("flight-delay", "flight-delay"), ("LinearRegression", "linearregression"), ("a_b-", "a-b--dea97359")],
)
def test_objects_are_named_as_kubernetes_demands(model: str, name: str) -> None:
    assert name_of(model) == name


GUARDED = {"api_keys_file": "/settings/keys", "tls_certificate_file": "/settings/c", "tls_key_file": "/settings/k"}


def test_settings_are_the_pods_own_and_what_asks_them_knows_their_scheme() -> None:
    found = render(frozenset({MONITORING}), settings={**GUARDED, "drain_s": 60}, secret="keys")
    pod = pod_of(found)
    (server,) = pod["containers"]
    assert {each["name"]: each["value"] for each in server["env"]} == {
        "MODELRAIL_SERVE_API_KEYS_FILE": "/settings/keys",
        "MODELRAIL_SERVE_DRAIN_S": "60",
        "MODELRAIL_SERVE_TLS_CERTIFICATE_FILE": "/settings/c",
        "MODELRAIL_SERVE_TLS_KEY_FILE": "/settings/k",
    }
    assert pod["volumes"][-1] == {"name": "settings", "secret": {"secretName": "keys", "defaultMode": 0o440}}
    assert server["volumeMounts"][-1] == {"name": "settings", "mountPath": "/settings", "readOnly": True}
    probes = [server[f"{name}Probe"]["httpGet"]["scheme"] for name in ("startup", "readiness", "liveness")]
    assert probes == ["HTTPS"] * 3
    assert found["Service"]["spec"]["ports"][0]["port"] == 443
    assert pod["terminationGracePeriodSeconds"] == 5 + 60 + 5
    (endpoint,) = found["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    known = {"secret": {"name": "keys", "key": "c"}}
    assert endpoint["tlsConfig"] == {"ca": known, "serverName": "line-1--81e7f47d.default.svc"}
    assert endpoint["authorization"] == {"credentials": {"name": "keys", "key": "scrape-key"}}


def test_a_server_without_settings_has_neither_variables_nor_a_secret() -> None:
    pod = pod_of(render())
    assert "env" not in pod["containers"][0]
    assert [each["name"] for each in pod["volumes"]] == ["tmp"]


def test_who_deploys_may_neither_read_secrets_nor_enter_pods_nor_remove_releases() -> None:
    (role,) = (each for each in deployer("models") if each["kind"] == "Role")
    rights = {(name, verb) for rule in role["rules"] for name in rule["resources"] for verb in rule["verbs"]}
    assert {name for name, _ in rights}.isdisjoint({"secrets", "pods/exec", "pods/log", "roles", "*"})
    assert {name for name, verb in rights if verb == "delete"} == {"horizontalpodautoscalers", "httproutes"}


def test_captures_reach_the_object_store_and_no_object_has_a_secret() -> None:
    capture = {"share": 0.1, "to": "s3://captures/all", "private": {"name": "hash", "id": "drop"}, "keep": "30 days"}
    made = render(capture=capture | {"secret": "line-captures", "port": 9000})
    (container,) = pod_of(made)["containers"]
    assert {each["name"].removeprefix("MODELRAIL_SERVE_CAPTURE_"): each["value"] for each in container["env"]} == {
        "SHARE": "0.1",
        "TO": "s3://captures/all",
        "PRIVATE": "id=drop,name=hash",
        "KEEP_DAYS": "30",
    }
    assert {"secretRef": {"name": "line-captures"}} in container["envFrom"]
    (egress,) = made["NetworkPolicy"]["spec"]["egress"]
    assert {(each["port"], each["protocol"]) for each in egress["ports"]} == {(53, "UDP"), (53, "TCP"), (9000, "TCP")}
    assert "egress" not in render()["NetworkPolicy"]["spec"]
