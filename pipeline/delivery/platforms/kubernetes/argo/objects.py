"""What a release is where Argo Rollouts takes it step by step: its ``Rollout`` and ``AnalysisTemplate``; pure.

Argo starts the pods and looks at Prometheus. The candidate is told from what is live by its version, which the servers
write on all that they count, so a template is the same for each release and names what changes as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log, sqrt
from statistics import NormalDist
from typing import Any

from pipeline.spec.object_names import ENOUGH
from pipeline.spec.schema.deploy import Canary

Manifest = dict[str, Any]

ARGO = "argoproj.io/v1alpha1"
"""The API of Argo Rollouts."""
TRACK_OF_ARGO = "rollout"
_LOOKS_LEFT = 2
"""Looks that a step lasts at least once there are requests enough."""


def with_argo(objects: Sequence[Manifest], canary: Canary, model: str, version: str) -> list[Manifest]:
    """Put a Rollout in the place of a release's Deployment, with what it needs before it.

    Parameters
    ----------
    objects : sequence of Manifest
        All objects of the release; the Deployment's pods are already as Argo shall run them.
    version : str
        The release's.
    """
    rest = [each for each in objects if each["kind"] != "Deployment"]
    (deployment,) = (each for each in objects if each["kind"] == "Deployment")
    about = {key: value for key, value in deployment["metadata"].items() if key != "annotations"}
    name, namespace = about["name"], about["namespace"]
    counts = _Counts(model, namespace)
    templates = [
        {"apiVersion": ARGO, "kind": "AnalysisTemplate", "metadata": {**about, "name": each}, "spec": spec}
        for each, spec in ((name, worse(canary, counts)), (f"{name}-{ENOUGH}", enough(canary, counts)))
    ]
    spec = deployment["spec"] | {
        "strategy": {"canary": strategy(name, canary, version)},
        "progressDeadlineAbort": True,
    }
    rollout = {"apiVersion": ARGO, "kind": "Rollout", "metadata": deployment["metadata"], "spec": spec}
    return [*rest, *templates, rollout]


def strategy(name: str, canary: Canary, version: str) -> Manifest:
    """Build the steps: each sets its weight, waits for enough requests, then lasts for its time while Argo watches."""
    arguments = [{"name": "version", "value": version.replace(".", "[.]")}]
    steps: list[Manifest] = []
    for number, step in enumerate(canary.steps, 1):
        wanted = {"name": "requests", "value": str(number * canary.min_requests)}
        analysis = {"templates": [{"templateName": f"{name}-{ENOUGH}"}], "args": [*arguments, wanted]}
        pause = {"duration": f"{max(step.hold_s, _LOOKS_LEFT * canary.every_s)}s"}
        steps += [{"setWeight": step.weight}, {"analysis": analysis}, {"pause": pause}]
    return {
        "maxSurge": 1,
        "maxUnavailable": 0,
        "steps": steps,
        "analysis": {"templates": [{"templateName": name}], "args": arguments, "startingStep": 1},
    }


def at_once(rollout: Manifest) -> Manifest:
    """Build the strategy of a Rollout without steps and analyses: pod by pod."""
    kept = {
        key: value for key, value in rollout["spec"]["strategy"]["canary"].items() if key not in ("steps", "analysis")
    }
    return {**rollout, "spec": {**rollout["spec"], "strategy": {"canary": kept}}}


class _Counts:
    """PromQL of what servers count; the candidate's, or that of everything else of the model in the namespace."""

    def __init__(self, model: str, namespace: str) -> None:
        self._labels = f'namespace="{namespace}",model="{model}",track="live"'

    def of(self, counter: str, sign: str, more: str = "") -> str:
        return f'ml_inference_{counter}{{{self._labels},version{sign}"v?{{{{args.version}}}}"{more}}}'

    def pair(self, counter: str, more: str = "") -> tuple[str, str]:
        return self.of(counter, "=~", more), self.of(counter, "!~", more)


def enough(canary: Canary, counts: _Counts) -> Manifest:
    """Wait until both have answered enough requests to tell; otherwise the release is aborted at the deadline.

    A metric beyond its limit is in doubt as long as chance explains it, and the other template aborts when none does.
    """
    looks = _looks(canary)
    known = _known(counts, "{{args.requests}}")
    within = {
        f"{name}-within-limit": f"({known}) unless on() ({MEASURES[name](counts).worse_by} > {limit:g})"
        for name, limit in canary.metrics.items()
    }
    metrics = [
        {
            "name": name,
            **_look(canary, query, "len(result) > 0"),
            "count": looks + 1,  # Argo wants room for the one that succeeds
            "failureLimit": looks,
            "consecutiveSuccessLimit": 1,
        }
        for name, query in ({"requests": known} | within).items()
    ]
    return {"args": [{"name": "version"}, {"name": "requests"}], "metrics": metrics}


def worse(canary: Canary, counts: _Counts) -> Manifest:
    """Check repeatedly whether the candidate is worse; a query returns a number only if it is."""
    level = canary.false_alarm / (_looks(canary) * len(canary.metrics))
    known = _known(counts, str(canary.min_requests))
    measures = ((name, MEASURES[name](counts), limit) for name, limit in canary.metrics.items())
    queries = {
        name: f"({found.worse_by} > {limit:g}) and ({found.ruled_out(level)}) and on() ({known})"
        for name, found, limit in measures
    }
    metrics = [
        {"name": name, **_look(canary, query, "len(result) == 0"), "failureLimit": 0} for name, query in queries.items()
    ]
    return {"args": [{"name": "version"}], "metrics": metrics}


def _known(counts: _Counts, requests: str) -> str:
    ours, theirs = (f"sum({each})" for each in counts.pair("requests_total"))
    return f"({ours} >= {requests}) and ({theirs} >= {requests})"


def _look(canary: Canary, query: str, success: str) -> Manifest:
    return {
        "interval": f"{canary.every_s}s",
        "consecutiveErrorLimit": _looks(canary),  # a Prometheus that is away is waited for
        "successCondition": success,
        "provider": {"prometheus": {"address": canary.prometheus, "query": query}},
    }


def _looks(canary: Canary) -> int:
    return ceil(canary.deadline_s / canary.every_s)


@dataclass(frozen=True)
class Measure:
    """One metric of the candidate against that of everything else, in PromQL.

    Attributes
    ----------
    worse_by : str
        How much worse the candidate is.
    ruled_out : callable
        Probability → what gives a number only if the difference is less likely than that by chance.
    """

    worse_by: str
    ruled_out: Callable[[float], str]


def errors(counts: _Counts) -> Measure:
    """Compare two shares: the test of two proportions, with their pooled variance."""
    n, m = (f"sum({each})" for each in counts.pair("requests_total"))
    a, b = (f"sum({each})" for each in counts.pair("requests_total", ',status!="200"'))
    pooled = f"(({a} + {b}) / ({n} + {m}))"
    difference = f"({a} / {n} - {b} / {m})"
    deviation = f"sqrt({pooled} * (1 - {pooled}) * (1 / {n} + 1 / {m}))"
    return Measure(difference, lambda level: f"{difference} / {deviation} > {_quantile(level):.4f}")


def latency(counts: _Counts) -> Measure:
    """Compare the medians, and the distributions by the one-sided test of Smirnov on the histograms' bounds."""
    ours, theirs = (f"sum by (le) ({each})" for each in counts.pair("duration_seconds_bucket"))
    n, m = (f"sum({each})" for each in counts.pair("duration_seconds_count"))
    ratio = f"(histogram_quantile(0.5, {ours}) / histogram_quantile(0.5, {theirs}))"
    apart = f"max({theirs} / scalar({m}) - {ours} / scalar({n}))"
    return Measure(ratio, lambda level: f"{apart} > {sqrt(-log(level) / 2):.4f} * sqrt(1 / {n} + 1 / {m})")


def outputs(counts: _Counts) -> Measure:
    """Compare predictions by their stability index, and the index with the chi-square distribution.

    Its quantile is that of Wilson and Hilferty (1931). A cell that one of both lacks counts as half a prediction.
    """
    ours, theirs = (f"sum by (above) ({each})" for each in counts.pair("outputs_total"))
    n, m = (f"sum({each})" for each in counts.pair("outputs_total"))
    cells = f"count({ours} or {theirs})"
    p, q = (
        f"((({one} or {other} * 0) + 0.5) / scalar({size} + 0.5 * {cells}))"
        for one, other, size in ((ours, theirs, n), (theirs, ours, m))
    )
    index = f"sum(({p} - {q}) * ln({p} / {q}))"
    free = f"clamp_min({cells} - 1, 1)"

    def ruled_out(level: float) -> str:
        quantile = f"({free} * (1 - 2 / (9 * {free}) + {_quantile(level):.4f} * sqrt(2 / (9 * {free}))) ^ 3)"
        return f"{index} > {quantile} * (1 / {n} + 1 / {m})"

    return Measure(index, ruled_out)


def _quantile(level: float) -> float:
    return NormalDist().inv_cdf(1 - level)


MEASURES: Mapping[str, Callable[[_Counts], Measure]] = {"errors": errors, "latency": latency, "outputs": outputs}
"""Metric of a canary → how it is measured."""
