"""Where logs are searched: an index of Elasticsearch or OpenSearch, what becomes of a line there, and a dashboard.

Every shipper sends the line as it stands in the file, with the file's path; what is in it is taken out by one ingest
pipeline, so that the shippers need not agree. Fields are those of the Elastic Common Schema.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

INDEX = "modelrail-logs"
KEPT_DAYS = 30

_PATH = (
    "dag_id=%{DATA:airflow.dag_id}/run_id=%{DATA:airflow.run_id}/task_id=%{DATA:airflow.task_id}/"
    "(?:map_index=%{INT:airflow.map_index:int}/)?attempt=%{INT:airflow.try_number:int}"
)
_RENAMED = {
    "timestamp": "@timestamp",
    "event": "message",
    "level": "log.level",
    "logger": "log.logger",
    "filename": "log.origin.file.name",
    "lineno": "log.origin.file.line",
    "error_detail.0.exc_type": "error.type",
    "error_detail.0.exc_value": "error.message",
}
"""Fields of Airflow's lines → those of the Elastic Common Schema."""


def _only(dataset: str) -> dict[str, Any]:
    """Build what a processor has in common: for lines of one kind, and a line that it cannot read stays as it is."""
    return {"if": f"ctx.event?.dataset == '{dataset}'", "ignore_failure": True}


PIPELINE: Mapping[str, Any] = {
    "description": "Lines of Modelrail's servers, of Airflow's tasks and of MLflow, as fields",
    "processors": [
        *({"dot_expander": {"field": field}} for field in ("event.dataset", "log.file.path", "host.name")),
        {"grok": {  # what containerd puts before a line of a pod
            "field": "message", "ignore_failure": True, "if": "ctx.message.contains(' F {')",
            "patterns": [r"^%{TIMESTAMP_ISO8601} (?:stdout|stderr) F %{GREEDYDATA:message}"],
        }},
        {"json": {"field": "message", "add_to_root": True, **_only("modelrail.serving")}},
        {"grok": {"field": "log.file.path", "patterns": [_PATH], **_only("airflow.task")}},
        {"json": {"field": "message", "target_field": "line", **_only("airflow.task")}},
        *({"remove": {"field": new, "ignore_missing": True, "if": f"ctx.line?.{old} != null"}}
          for old, new in (("timestamp", "@timestamp"), ("event", "message"))),
        *({"rename": {"field": f"line.{old}", "target_field": new, "ignore_missing": True, "ignore_failure": True}}
          for old, new in _RENAMED.items()),
        {"remove": {"field": "line", "ignore_missing": True}},
        {"grok": {
            "field": "message", **_only("mlflow"),
            "patterns": [r"^%{DATA:time} %{LOGLEVEL:log.level}:? +(?:%{NOTSPACE:log.logger}: )?%{GREEDYDATA:message}"],
            "pattern_definitions": {"DATA": r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d"},
        }},
        {"date": {"field": "time", "formats": ["yyyy/MM/dd HH:mm:ss"], **_only("mlflow")}},
        {"remove": {"field": "time", "ignore_missing": True}},
        {"lowercase": {"field": "log.level", "ignore_missing": True}},
    ],
}  # fmt: skip
"""What becomes of a line; one that it cannot read is kept as it is, as ``message``."""

_KEYWORD = {"type": "keyword", "ignore_above": 1024}
_MAPPINGS = {
    "dynamic_templates": [{"texts": {"match_mapping_type": "string", "mapping": _KEYWORD}}],
    "properties": {
        "@timestamp": {"type": "date"},
        "message": {"type": "text"},
        "event": {"properties": {"dataset": _KEYWORD, "duration": {"type": "long"}}},
        "http": {"properties": {"request": {"properties": {"id": _KEYWORD}}}},
        "error": {"properties": {"message": {"type": "text"}}},
    },
}


def _template(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "index_patterns": [f"{INDEX}*"],
        "data_stream": {},
        "priority": 200,
        "template": {
            "settings": {"index.default_pipeline": INDEX, "index.mapping.total_fields.limit": 500, **settings},
            "mappings": _MAPPINGS,
        },
    }


def for_elasticsearch() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what Elasticsearch is told: the path of the request, and its body."""
    rollover = {"rollover": {"max_age": "1d", "max_primary_shard_size": "50gb"}}
    phases = {"hot": {"actions": rollover}, "delete": {"min_age": f"{KEPT_DAYS}d", "actions": {"delete": {}}}}
    yield f"_ilm/policy/{INDEX}", {"policy": {"phases": phases}}
    yield f"_ingest/pipeline/{INDEX}", PIPELINE
    yield f"_index_template/{INDEX}", _template({"index.lifecycle.name": INDEX})


def for_opensearch() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield what OpenSearch is told: the path of the request, and its body."""
    old = {"state_name": "old", "conditions": {"min_index_age": f"{KEPT_DAYS}d"}}
    new = {"name": "new", "actions": [{"rollover": {"min_index_age": "1d", "min_size": "50gb"}}], "transitions": [old]}
    policy = {
        "description": f"Logs are kept for {KEPT_DAYS} days",
        "default_state": "new",
        "states": [new, {"name": "old", "actions": [{"delete": {}}], "transitions": []}],
        "ism_template": [{"index_patterns": [f"{INDEX}*"], "priority": 200}],
    }
    yield f"_plugins/_ism/policies/{INDEX}", {"policy": policy}
    yield f"_ingest/pipeline/{INDEX}", PIPELINE
    yield f"_index_template/{INDEX}", _template({})


_SERVING = 'event.dataset : "modelrail.serving"'
_TIME = {"id": "2", "type": "date_histogram", "schema": "segment",
         "params": {"field": "@timestamp", "interval": "auto", "min_doc_count": 1}}  # fmt: skip
_COUNT = {"id": "1", "type": "count", "schema": "metric", "params": {}}


def _terms(identity: str, field: str, schema: str) -> dict[str, Any]:
    params = {"field": field, "size": 10, "order": "desc", "orderBy": "1"}
    return {"id": identity, "type": "terms", "schema": schema, "params": params}


_SLOW = {"id": "1", "type": "percentiles", "schema": "metric",
         "params": {"field": "event.duration", "percents": [50, 99]}}  # fmt: skip
PANELS: Mapping[str, tuple[str, str, list[dict[str, Any]]]] = {
    "Requests by status": (
        "histogram", _SERVING, [_COUNT, _TIME, _terms("3", "http.response.status_code", "group")]),
    "Nanoseconds of an answer": ("line", _SERVING, [_SLOW, _TIME]),
    "Requests by model and version": (
        "table", _SERVING, [_COUNT, _terms("2", "service.name", "bucket"), _terms("3", "service.version", "bucket")]),
    "Errors by task": (
        "table", 'event.dataset : "airflow.task" and log.level : ("error" or "critical")',
        [_COUNT, _terms("2", "airflow.dag_id", "bucket"), _terms("3", "airflow.task_id", "bucket")]),
}  # fmt: skip
"""Title → how it is shown, of which lines, and what is computed of them."""
_LINES = "modelrail-lines"
_COLUMNS = ["event.dataset", "log.level", "service.name", "airflow.task_id", "message"]


def saved_objects() -> Iterator[dict[str, Any]]:
    """Yield what Kibana and OpenSearch Dashboards import: the index, charts, a search and the dashboard of these."""
    yield _saved("index-pattern", INDEX, {"title": f"{INDEX}*", "timeFieldName": "@timestamp"})
    charts = [("visualization", f"modelrail-{number}") for number, _ in enumerate(PANELS)]
    for (kind, identity), (title, (chart, query, aggregations)) in zip(charts, PANELS.items(), strict=True):
        state = {"title": title, "type": chart, "aggs": aggregations, "params": {"type": chart}}
        shown = {"title": title, "visState": json.dumps(state), "uiStateJSON": "{}"}
        yield _saved(kind, identity, {**shown, "kibanaSavedObjectMeta": _searched(query)}, _SOURCE)
    columns = {"title": "Modelrail: lines", "columns": _COLUMNS, "sort": [["@timestamp", "desc"]]}
    yield _saved("search", _LINES, {**columns, "kibanaSavedObjectMeta": _searched("")}, _SOURCE)
    yield _dashboard([*charts, ("search", _LINES)])


_SOURCE = [{"id": INDEX, "type": "index-pattern", "name": "kibanaSavedObjectMeta.searchSourceJSON.index"}]


def _searched(query: str) -> dict[str, str]:
    source = {"query": {"query": query, "language": "kuery"}, "filter": [], "indexRefName": _SOURCE[0]["name"]}
    return {"searchSourceJSON": json.dumps(source)}


def _dashboard(shown: list[tuple[str, str]]) -> dict[str, Any]:
    """Lay out two beside each other, and what is left over across the whole."""
    panels, references = [], []
    for number, (kind, identity) in enumerate(shown):
        last = number == len(shown) - 1
        at = {"x": 24 * (number % 2), "y": 12 * (number // 2), "w": 48 if last else 24, "h": 12, "i": str(number)}
        panels.append({"panelIndex": str(number), "gridData": at, "panelRefName": f"panel_{number}"})
        references.append({"name": f"panel_{number}", "type": kind, "id": identity})
    attributes = {"title": "Modelrail", "panelsJSON": json.dumps(panels), "timeRestore": False}
    source = {"searchSourceJSON": json.dumps({"query": {"query": "", "language": "kuery"}, "filter": []})}
    return _saved("dashboard", "modelrail", {**attributes, "kibanaSavedObjectMeta": source}, references)


def _saved(
    kind: str, identity: str, attributes: Mapping[str, Any], references: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    return {"type": kind, "id": identity, "attributes": dict(attributes), "references": references or []}
