"""Requests that are not what a release was trained on raise an alert: server, Prometheus, Alertmanager, all real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.model.reference import NumberBins, Reference, ReferenceFeature
from pipeline.model.signature import Input, Signature
from pipeline.monitoring.dashboard import dashboard
from pipeline.monitoring.rendering import Asked, Watched
from pipeline.spec.schema.spec import Spec
from tests.monitoring.stack import Stack, needs_stack, until, watching
from tests.serving.bundles import seal, sum_graph, write_bundle
from tests.serving.conftest import Live, start  # noqa: F401 - a fixture
from tests.serving.test_server import predict

PAIR = Signature("regression", (Input("x", "float"), Input("y", "float")), None, {"x": 0.5, "y": 0.5})
MODEL = Spec.model_validate({"model": {"name": "pair"}})


def feature(name: str) -> ReferenceFeature:
    bins = NumberBins((0.0, 1.0, 2.0, 3.0), 4.0)
    return ReferenceFeature(name, name, "value", 10_000, bins, (0, 0, 0.25, 0.25, 0.25, 0.25, 0))


@pytest.fixture(scope="module")
def live(start: Any, tmp_path_factory: pytest.TempPathFactory) -> Live:  # noqa: F811
    reference = Reference(1, (feature("x"), feature("y")), metrics={"rmse": 0.5})
    folder = tmp_path_factory.mktemp("bundle") / "pair"
    bundle = write_bundle(folder, signature=PAIR, graph=sum_graph(2), model="pair", reference=reference)
    seal(bundle, model="pair", data_time="2026-11-01T12:00:00+00:00")
    found: Live = start(bundle, "--workers", "2")
    return found


@pytest.fixture(scope="module")
def stack(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield both programs, after they have seen the server idle, and then a thousand requests in which `x` drifted."""
    asked = Asked([Watched(MODEL, None)])
    with watching(tmp_path_factory.mktemp("watching"), asked, f"127.0.0.1:{live.port}") as found:
        until(lambda: found.query('ml_inference_feature_total{feature="x"}'), "scraped")
        for number in range(1_000):
            predict(live, {"inputs": [[3.5 if number % 10 else 0.5, number % 4 + 0.5]]})
        yield found


@needs_stack
def test_drifted_traffic_raises_an_alert_of_that_column_alone(stack: Stack) -> None:
    until(lambda: stack.told.alerts("ModelrailDrift"), "the alert")
    found = stack.told.alerts("ModelrailDrift")
    assert {path for path, _ in found} == {"/alerts/ticket"}
    assert {labels["feature"] for _, labels in found} == {"x"}
    assert {(labels["model"], labels["version"], labels["track"]) for _, labels in found} == {("pair", "1.0.0", "live")}
    (index,) = until(lambda: stack.query('max by (feature) (modelrail:feature_drift:1h{feature="y"})'), "the index")
    assert float(index["value"][1]) < 0.01, "the other column is as it was in training"


@needs_stack
def test_a_service_that_does_well_raises_no_other_alert(stack: Stack) -> None:
    until(lambda: stack.query('modelrail:failed_share:3d{model="pair"}'), "the objectives")
    fired = {each["metric"]["alertname"] for each in stack.query('ALERTS{alertstate="firing"}')}
    assert fired <= {"ModelrailDrift", "ModelrailLatencyBudget"}, "the second: this machine may be slow"


def expressions() -> list[str]:
    return [target["expr"] for panel in dashboard("pair")["panels"] for target in panel.get("targets", ())]


@needs_stack
@pytest.mark.parametrize("expression", expressions())
def test_each_panel_of_the_dashboard_has_data(stack: Stack, expression: str) -> None:
    filled = expression.replace("$model", "pair").replace("$feature", "x")
    assert "$" not in filled
    until(lambda: stack.query(filled), filled)


@needs_stack
def test_each_variable_of_the_dashboard_has_values(stack: Stack) -> None:
    for each in dashboard(None)["templating"]["list"]:
        if each["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.*), (\w+)\)", each["query"]).groups()  # type: ignore[union-attr]
            values = {found["metric"][label] for found in stack.query(metric.replace("$model", "pair"))}
            assert values >= {"model": {"pair"}, "feature": {"x", "y"}}[label]


def test_the_dashboard_is_what_grafanas_own_types_read() -> None:
    """Read it by the types that Grafana generates from its schema: nothing is lost, nothing is unknown."""
    cog = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    for name in ("pair", None):
        ours = dashboard(name)
        theirs = json.loads(json.dumps(Dashboard.from_json(ours), cls=cog.JSONEncoder))
        assert list(lost(ours, theirs)) == []


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """Yield what one document says and the other does not."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name, value in ours.items():
            yield from lost(value, theirs.get(name), f"{path}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(mine, other, f"{path}.{number}")
    elif ours != theirs and not (ours in ([], {}) and theirs is None):
        yield f"{path}: {ours!r} became {theirs!r}"
