"""Objects that not every cluster takes and not every spec wants, on a real cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.cluster import open_cluster
from pipeline.delivery.platforms.kubernetes.manifests import MONITORING, Manifest, labels_of, manifests
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.releases import Release, Version

from .conftest import bring_type
from .lines import EVIDENCE, NAME, Line, line_in
from .test_gateway import gateway_api

__all__ = ["gateway_api"]

MODULE = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
CRD = "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"
GUARDED = {
    "api_keys_file": "/settings/keys",
    "tls_certificate_file": "/settings/tls.crt",
    "tls_key_file": "/settings/tls.key",
}
RELEASE = Release(NAME, Version.parse("1.0.0"), EVIDENCE)


@pytest.fixture
def line(namespace: str, serving_image: str, tmp_path: Path) -> Line:
    return line_in(namespace, serving_image, tmp_path)


def bring_service_monitors() -> None:
    """Bring the type to the cluster."""
    bring_type(MODULE, CRD, "servicemonitors.monitoring.coreos.com")


def names(line: Line, kind: str) -> set[str]:
    return {each["metadata"]["name"] for each in line.get(kind)["items"]}


def monitor(line: Line, image: str) -> Manifest:
    rendered = manifests(line.target.spec, RELEASE, None, image, apis=frozenset({MONITORING}))
    (found,) = (each for each in rendered if each["kind"] == "ServiceMonitor")
    return found


def differences(line: Line, image: str | None) -> list[Any]:
    return list(platform_of(line.target.spec).differences(line.target, RELEASE, image))


def test_a_service_monitor_is_applied_where_the_cluster_has_its_type(line: Line) -> None:
    with open_cluster(None, line.target.spec.deploy.namespace) as cluster:
        if MONITORING not in cluster.apis():  # a cluster that an earlier run has not brought it to
            assert line.deploy("1.0.0").version == "1.0.0"
        bring_service_monitors()
        image = line.deploy("1.0.0").image
        assert image is not None
        (found,) = line.get("servicemonitors")["items"]
        assert found["spec"] == monitor(line, image)["spec"]
        guarded = monitor(line.with_deploy(settings=GUARDED, secret="line-serving"), image)
        assert {"scheme", "tlsConfig", "authorization"} <= {*guarded["spec"]["endpoints"][0]}
        assert cluster.apply(guarded, dry_run=True)["spec"] == guarded["spec"], "its schema knows every field"
    labels = ",".join(f"{key}={value}" for key, value in found["spec"]["selector"]["matchLabels"].items())
    (service,) = line.get("services", "--selector", labels)["items"]
    assert found["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert differences(line, image) == []
    platform_of(line.target.spec).stop(line.target)
    assert names(line, "servicemonitors") == set()


def test_what_a_spec_no_longer_asks_for_is_removed_by_the_next_deploy(gateway_api: None, line: Line) -> None:
    optional = ("horizontalpodautoscalers", "httproutes")
    scale = {"min_replicas": 2, "max_replicas": 3, "cpu": 0.9}
    more = line.with_deploy(autoscale=scale, gateway={"name": "public"})
    image = more.deploy("1.0.0").image
    assert [names(line, kind) for kind in optional] == [{NAME}, {NAME}]
    assert differences(more, image) == []
    line.deploy("1.0.0", at_once=True)
    assert [names(line, kind) for kind in optional] == [set(), set()]
    assert differences(line, image) == [], "the number of pods is the spec's again"


def test_another_model_whose_name_begins_alike_keeps_its_objects(gateway_api: None, line: Line) -> None:
    line.deploy("1.0.0")
    for name, model in ((f"{NAME}-canary", f"{NAME}-canary"), (f"{NAME}-baseline", NAME)):
        line.kubectl("create", "service", "clusterip", name, "--tcp=80")
        labels = [f"{key}={value}" for key, value in labels_of(model, line.target.environment).items()]
        line.kubectl("label", "service", name, *labels, "--overwrite")
    platform_of(line.target.spec).stop(line.target)
    assert names(line, "services") == {f"{NAME}-canary"}
