"""Where counts are read: of Prometheus, which adds up those of all servers, or of the one server that there is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pipeline.errors import InputError, TransientError, redact
from pipeline.model.reference import Reference
from pipeline.monitoring.advice import Serving
from pipeline.monitoring.counts import FEATURE, REQUESTS, TRUTH, Bins, Counts, add_sample, read_counts, truth_of
from pipeline.serving import client

PROMETHEUS, TOKEN = "MODELRAIL_PROMETHEUS", "MODELRAIL_PROMETHEUS_TOKEN"
_TIMEOUT_S = 10
_OK = 200


def ask_server(address: str, reference: Reference, model: str, version: str) -> Counts:
    """Read what a server has counted since it began.

    Raises
    ------
    TransientError
        If it does not answer.
    """
    status, content = client.get(address, "/metrics", _TIMEOUT_S)
    if status != _OK:
        raise TransientError(f"{model}: found the status {status} at {address}/metrics; expected {_OK}")
    return read_counts(content.decode(), reference, model, version)


def ask_prometheus(
    address: str, token: str | None, reference: Reference, model: str, version: str, seconds: float
) -> Counts:
    """Read what all servers of a release have counted in the last seconds; restarts are seen by Prometheus.

    Parameters
    ----------
    address : str
        Of Prometheus, or of what speaks as it does (Thanos, Mimir, VictoriaMetrics).
    token : str or None
        Sent as a bearer.

    Raises
    ------
    InputError
        If the address is none.
    TransientError
        If it does not answer, or with something else.
    """
    series = _series(model, version, seconds)
    found = {each.name: [0.0] * each.bins.count for each in reference.features}
    for labels, value in _query(address, token, f"sum by (feature, bin) (increase({FEATURE}{series}))"):
        add_sample(found, labels, value)
    by_status = _query(address, token, f"sum by (status) (increase({REQUESTS}{series}))")
    statuses = {labels.get("status", ""): value for labels, value in by_status}
    return Counts.of(statuses, {name: tuple(bins) for name, bins in found.items() if any(bins)})


def ask_prometheus_truth(address: str, token: str | None, model: str, version: str, seconds: float) -> dict[str, Bins]:
    """Read what all servers of a release have counted of answers whose truth came in the last seconds.

    Raises
    ------
    InputError, TransientError
        As for `ask_prometheus`.
    """
    found = _query(address, token, f"sum by (counted, bin) (increase({TRUTH}{_series(model, version, seconds)}))")
    named = {(labels.get("counted", ""), labels.get("bin", "")): value for labels, value in found}
    return truth_of({(name, int(place)): value for (name, place), value in named.items() if place.isdecimal()})


def ask_serving(address: str, token: str | None, model: str, namespace: str, days: int) -> Serving | None:
    """Read what a model's servers on Kubernetes took in the last days, as its kubelets measured it.

    Returns
    -------
    Serving, optional
        None where Prometheus has no figures of their pods.

    Raises
    ------
    InputError, TransientError
        As for `ask_prometheus`.
    """
    pods = f'{{namespace="{namespace}",container="server",pod=~"{model}-[a-z0-9]+-[a-z0-9]+"}}'
    memory, cores = f"container_memory_working_set_bytes{pods}", f"rate(container_cpu_usage_seconds_total{pods}[5m])"
    asked = (
        f"max_over_time(max({memory})[{days}d:5m])",
        f"quantile_over_time(0.95, sum({cores})[{days}d:5m])",
        f"avg_over_time(count({memory})[{days}d:5m])",
    )
    found = [value for query in asked for _, value in _query(address, token, query)]
    return Serving(*found) if len(found) == len(asked) else None


def _series(model: str, version: str, seconds: float) -> str:
    return f'{{model="{model}",version="{version.removeprefix("v")}",track="live"}}[{math.ceil(seconds)}s]'


def _query(address: str, token: str | None, query: str) -> list[tuple[Mapping[str, str], float]]:
    import httpx  # a server of this machine is asked without it

    where = f"{PROMETHEUS}: {redact(address)}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        url = f"{address.rstrip('/')}/api/v1/query"
        answer = httpx.post(url, data={"query": query}, headers=headers, timeout=_TIMEOUT_S)
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise InputError(f"{where}: found {error}; expected an address such as http://prometheus:9090") from error
    except httpx.HTTPError as error:
        raise TransientError(f"{where}: found no answer ({error}); expected one") from error
    if answer.status_code != _OK:
        raise TransientError(f"{where}: found the status {answer.status_code}; expected {_OK} ({TOKEN})")
    try:
        return _parse(answer.json())
    except (ValueError, LookupError, TypeError) as error:
        raise TransientError(f"{where}: found another answer than Prometheus gives; expected its API") from error


def _parse(document: Any) -> list[tuple[Mapping[str, str], float]]:
    values = ((each["metric"], float(each["value"][1])) for each in document["data"]["result"])
    return [(labels, value) for labels, value in values if math.isfinite(value)]
