"""Rules for Prometheus: what is recorded of a model, and what raises an alert."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.monitoring import promql
from pipeline.monitoring.promql import Drift
from pipeline.spec.schema.spec import Spec

Rule = dict[str, Any]
Group = dict[str, Any]

_DAYS, _DAY_S = 30, 86_400
"""Time for which the level of chance of false alarms, and the error budget, are given."""
_OF_THE_CLOCK = r".*\\[(hour|weekday)\\]"
"""Features that are recorded and raise no alert: an hour holds one hour of the day, whatever is asked in it."""
_CANARY_AT_LEAST_S = 3_600
_QUIET_MIN, _EXPECTED = 15, 20
"""Minutes without any request that are noticed where so many were to be expected in them."""


@dataclass(frozen=True)
class Window:
    """A window in which drift is looked for, and how often."""

    length: str
    every: str
    looks: int
    """In `_DAYS`."""


DRIFT_WINDOWS = (Window("1h", "5m", _DAYS * 24 * 12), Window("1d", "1h", _DAYS * 24))


@dataclass(frozen=True)
class Burn:
    """A rate at which an error budget is used up, noticed in a long window, and over once it is in a short one."""

    rate: float
    long: str
    short: str


BURNS = {
    "page": (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m")),
    "ticket": (Burn(3, "1d", "2h"), Burn(1, "3d", "6h")),
}
"""Table 5-8 of the "Site Reliability Workbook" of Google (2018), chapter 5, "Alerting on SLOs"."""


def rules_of(spec: Spec) -> list[Group]:
    """Build the groups of rules of a model."""
    return [
        *(_drift_group(spec, window) for window in DRIFT_WINDOWS),
        _group(spec, "objectives", "30s", [*_objectives(spec)]),
        _group(spec, "releases", "1m", [*_releases(spec)]),
    ]


def drift_of(spec: Spec, window: Window) -> Drift:
    """Return how drift is judged: all looks at all features in all windows share the level of chance.

    A column has two features at most, and two are of what is predicted.
    """
    tests = (2 * spec.monitoring.features + 2) * window.looks * len(DRIFT_WINDOWS)
    return Drift(spec.model.name, window.length, spec.monitoring.false_alarm / tests)


def _drift_group(spec: Spec, window: Window) -> Group:
    drift, limit = drift_of(spec, window), spec.monitoring.max_drift
    mine = f'{{model="{spec.model.name}", track!="shadow", feature!~"{_OF_THE_CLOCK}"}}'
    alert = _alert(
        spec,
        "ModelrailDrift",
        f"{drift.index}{mine} > {limit:g} and {drift.index}{mine} > {drift.limit}{mine}",
        "ticket",
        f"{spec.model.name}: {{{{ $labels.feature }}}} is not what {{{{ $labels.version }}}} was trained on",
        f"In the last {window.length} its stability index (PSI) is {{{{ $value | humanize }}}}; at most {limit:g} is"
        " allowed (monitoring.max_drift), and chance is ruled out (monitoring.false_alarm).",
        window=window.length,
    )
    records = [{"record": name, "expr": expression} for name, expression in drift.records().items()]
    return _group(spec, f"drift-{window.length}", window.every, [*records, alert])


def _objectives(spec: Spec) -> Iterator[Rule]:
    name, asked = spec.model.name, spec.monitoring
    windows = dict.fromkeys(window for burns in BURNS.values() for burn in burns for window in (burn.long, burn.short))
    for window in windows:
        yield {"record": f"modelrail:failed_share:{window}", "expr": promql.failed_share(name, window)}
        slow = promql.slow_share(name, window, asked.latency.within_s)
        yield {"record": f"modelrail:slow_share:{window}", "expr": slow}
    for severity, burns in BURNS.items():
        yield _alert(
            spec,
            "ModelrailErrorBudget",
            _burning("failed_share", name, burns, 1 - asked.availability),
            severity,
            f"{name}: too many requests fail",
            f"{{{{ $value | humanizePercentage }}}} of them; the objective is that {asked.availability:.4%} do not"
            " (monitoring.availability).",
        )
        yield _alert(
            spec,
            "ModelrailLatencyBudget",
            _burning("slow_share", name, burns, 1 - asked.latency.share),
            severity,
            f"{name}: too many answers are late",
            f"{{{{ $value | humanizePercentage }}}} of them; the objective is that {asked.latency.share:.4%} come"
            f" within {asked.latency.within_s:g} s (monitoring.latency).",
        )


def _burning(record: str, model: str, burns: Sequence[Burn], budget: float) -> str:
    def beyond(burn: Burn, window: str) -> str:
        return f'modelrail:{record}:{window}{{model="{model}"}} > {burn.rate * budget:.6g}'

    return " or ".join(f"({beyond(burn, burn.long)} and {beyond(burn, burn.short)})" for burn in burns)


def _releases(spec: Spec) -> Iterator[Rule]:
    name, asked = spec.model.name, spec.monitoring
    quiet, usual = promql.requests(name, f"{_QUIET_MIN}m"), promql.requests(name, "1d")
    yield _alert(
        spec,
        "ModelrailAbsent",
        promql.absent(name),
        "page",
        f"{name}: no server tells of it",
        "Prometheus has had no answer from any server with this model for 5 minutes.",
        for_="5m",
    )
    yield _alert(
        spec,
        "ModelrailNoTraffic",
        f"{quiet} == 0 and {usual} > {_EXPECTED * 24 * 60 // _QUIET_MIN}",
        "ticket",
        f"{name}: nobody asks it any more",
        f"No request came in {_QUIET_MIN} minutes; by the last day at least {_EXPECTED} were to be expected.",
    )
    if asked.max_age_days is not None:
        yield _alert(
            spec,
            "ModelrailDataOld",
            f"{promql.data_age(name)} > {asked.max_age_days * _DAY_S}",
            "ticket",
            f"{name}: what is live was made from old data",
            "The data commit of the live release is {{ $value | humanizeDuration }} old; at most"
            f" {asked.max_age_days} days are allowed (monitoring.max_age_days).",
        )
    if spec.deploy.canary is not None:
        yield _alert(
            spec,
            "ModelrailCanaryStuck",
            f"{promql.asked_versions(name, f'{_QUIET_MIN}m')} > 1",
            "ticket",
            f"{name}: a canary is neither promoted nor aborted",
            "{{ $value }} versions have answered for twice as long as a rollout may take (deploy.canary).",
            for_=f"{2 * longest_canary_s(spec)}s",
        )


def longest_canary_s(spec: Spec) -> int:
    """Compute how long a rollout may take, in seconds: at least an hour, since somebody may hold it."""
    canary = spec.deploy.canary
    took = sum(step.hold_s for step in canary.steps) + canary.deadline_s if canary else 0
    return max(_CANARY_AT_LEAST_S, took)


def _alert(
    spec: Spec, name: str, expression: str, severity: str, summary: str, description: str, for_: str = "", **labels: str
) -> Rule:
    own = {"owner": spec.model.owner.replace("{{", "{ {")} if spec.model.owner else {}  # labels are templates
    return {
        "alert": name,
        "expr": expression,
        **({"for": for_} if for_ else {}),
        "labels": {"severity": severity, "model": spec.model.name, **labels, **own},
        "annotations": {"summary": summary, "description": description},
    }


def _group(spec: Spec, subject: str, every: str, rules: list[Rule]) -> Group:
    return {"name": f"modelrail {spec.model.name} {subject}", "interval": every, "rules": rules}
