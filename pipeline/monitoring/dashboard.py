"""A dashboard for Grafana: the service, what it is asked against its reference, and the release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.monitoring.counts import FAILED

Panel = dict[str, Any]

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 24, 8


@dataclass(frozen=True)
class Chart:
    """What one panel shows.

    Attributes
    ----------
    queries : sequence of (str, str)
        Expression, and how a line of it is called.
    width : int
        Of 24.
    instant : bool
        Whether the newest values alone are shown.
    """

    title: str
    about: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    instant: bool = False


def dashboard(model: str | None) -> dict[str, Any]:
    """Build a dashboard of one model, or of all, to choose from."""
    name = model or "all models"
    return {
        "uid": f"modelrail-{hashlib.sha256(name.encode()).hexdigest()[:12]}",
        "title": f"Modelrail: {name}",
        "tags": ["modelrail"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [*_variables(model)]},
        "panels": [*_laid_out(sections())],
    }


def _variables(model: str | None) -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    if model is None:
        yield _query("model", "Model", "label_values(ml_inference_requests_total, model)")
    else:
        yield {"name": "model", "type": "constant", "query": model, "label": "Model", "hide": 2}
    yield _query("feature", "Feature", 'label_values(ml_reference_share{model="$model"}, feature)')


def _query(name: str, label: str, query: str) -> dict[str, Any]:
    about = {"name": name, "label": label, "type": "query", "query": query}
    return {**about, "datasource": _SOURCE, "refresh": 2, "sort": 1}


def sections() -> dict[str, Sequence[Chart]]:
    """List the charts, row by row; ``$model`` and ``$feature`` are the dashboard's variables."""
    mine = 'model="$model", track!="shadow"'
    all_requests = f"ml_inference_requests_total{{{mine}}}"
    failed = f'ml_inference_requests_total{{{mine}, status=~"{FAILED}"}}'
    durations = f"sum by (le) (rate(ml_inference_duration_seconds_bucket{{{mine}}}[5m]))"
    feature = 'model="$model", feature="$feature"'
    return {
        "Service": (
            Chart(
                "Requests",
                "Answers a second, by version and track.",
                [("sum by (version, track) (rate(ml_inference_requests_total{model=\"$model\"}[5m]))",
                  "{{version}} {{track}}")],
                "reqps",
            ),
            Chart(
                "Failed",
                "Share of the requests that failed by the service's fault (status 5xx and 429).",
                [(f"sum(rate({failed}[5m])) / (sum(rate({all_requests}[5m])) > 0)", "failed")],
                "percentunit",
            ),
            Chart(
                "Duration",
                "Time to answer.",
                [(f"histogram_quantile({share}, {durations})", f"p{share * 100:g}") for share in (0.5, 0.9, 0.99)],
                "s",
            ),
            Chart(
                "In flight",
                "Requests being answered.",
                [(f"sum by (version) (ml_inference_in_flight{{{mine}}})", "{{version}}")],
            ),
            Chart(
                "Failed, in the windows of the error budget",
                "What the alerts look at.",
                [('modelrail:failed_share:1h{model="$model"}', "1 h"),
                 ('modelrail:failed_share:6h{model="$model"}', "6 h"),
                 ('modelrail:failed_share:3d{model="$model"}', "3 d")],
                "percentunit",
            ),
            Chart(
                "Late, in the windows of the latency objective",
                "Share of the answers that took longer than monitoring.latency allows.",
                [('modelrail:slow_share:1h{model="$model"}', "1 h"),
                 ('modelrail:slow_share:3d{model="$model"}', "3 d")],
                "percentunit",
            ),
        ),
        "Asked and answered, against the reference": (
            Chart(
                "Drift",
                "Stability index (PSI) of the last hour, the twenty largest.",
                [('topk(20, max by (feature) (modelrail:feature_drift:1h{model="$model"}))', "{{feature}}")],
                kind="bargauge",
                width=8,
                instant=True,
            ),
            Chart(
                "Drift of $feature",
                "Its stability index, and below what chance explains it.",
                [(f"modelrail:feature_drift:1h{{{feature}}}", "index {{version}} {{track}}"),
                 (f"modelrail:feature_drift_limit:1h{{{feature}}}", "chance {{version}} {{track}}")],
            ),
            Chart(
                "$feature by bin",
                "Share of the rows of the last hour, and of the reference. reference.json names the bins.",
                [(f"max by (bin) (modelrail:feature_share:1h{{{feature}}})", "asked"),
                 (f"max by (bin) (ml_reference_share{{{feature}}})", "reference")],
                "percentunit",
                kind="barchart",
                instant=True,
            ),
        ),
        "Release": (
            Chart(
                "On its test rows",
                "What the live release reached before it was live.",
                [('max by (version, metric) (ml_release_metric{model="$model", track="live"})',
                  "{{version}} {{metric}}")],
                kind="stat",
                width=12,
                instant=True,
            ),
            Chart(
                "Age of its data",
                "Since the data commit that it was made from.",
                [('time() - max by (version) (ml_release_data_timestamp_seconds{model="$model", track="live"} > 0)',
                  "{{version}}")],
                "s",
                kind="stat",
                width=12,
                instant=True,
            ),
        ),
    }  # fmt: skip


def _laid_out(rows: dict[str, Sequence[Chart]]) -> Iterator[Panel]:
    number, y = 1, 0
    for title, charts in rows.items():
        yield {"id": number, "type": "row", "title": title, "gridPos": _place(0, y, _WIDTH, 1), "panels": []}
        number, x, y = number + 1, 0, y + 1
        for chart in charts:
            if x + chart.width > _WIDTH:
                x, y = 0, y + _HEIGHT
            yield _panel(chart, number, _place(x, y, chart.width, _HEIGHT))
            number, x = number + 1, x + chart.width
        y += _HEIGHT


def _place(x: int, y: int, w: int, h: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": w, "h": h}


def _panel(chart: Chart, number: int, place: dict[str, int]) -> Panel:
    targets = [
        {
            "refId": chr(ord("A") + position),
            "datasource": _SOURCE,
            "expr": expression,
            "legendFormat": legend,
            "instant": chart.instant,
            "range": not chart.instant,
            **({"format": "table"} if chart.kind == "barchart" else {}),
        }
        for position, (expression, legend) in enumerate(chart.queries)
    ]
    joined = [{"id": "joinByField", "options": {"byField": "bin"}}] if chart.kind == "barchart" else []
    return {
        "id": number,
        "type": chart.kind,
        "title": chart.title,
        "description": chart.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": targets,
        "transformations": joined,
        "fieldConfig": {"defaults": {"unit": chart.unit}, "overrides": []},
    }
