"""What Airflow knows of a run, as the pages need it: plain values, given by the plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pipeline.runs.plan.planning import ORDER, PARTITIONED

GOING = frozenset({"queued", "running"})
"""States of a run that is not over."""


@dataclass(frozen=True)
class TaskFacts:
    """One task (or one batch of a mapped one): its state, and when it ran."""

    task: str
    state: str | None
    start: datetime | None
    end: datetime | None

    @property
    def seconds(self) -> float:
        """From start to end; 0 while one of them is missing."""
        return (self.end - self.start).total_seconds() if self.start and self.end else 0.0


@dataclass(frozen=True)
class RunFacts:
    """One run of a model's DAG.

    Attributes
    ----------
    kind : str
        Airflow's type of run: ``manual``, ``scheduled``, ``backfill``, ``asset_triggered``.
    opened : dict
        What the task ``plan`` returned (``running.open_run``); empty before it has ended.
    results : mapping of str to list of dict
        Step → what its tasks returned (``StepResult.to_json``), one for each batch.
    tasks : sequence of TaskFacts
        Empty where only the run as a whole was asked for.
    """

    model: str
    id: str
    state: str
    kind: str = "manual"
    start: datetime | None = None
    end: datetime | None = None
    logical_date: datetime | None = None
    opened: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    tasks: Sequence[TaskFacts] = ()

    @property
    def is_going(self) -> bool:
        """Whether it is not over."""
        return self.state in GOING

    @property
    def seconds(self) -> float | None:
        """From start to end."""
        return (self.end - self.start).total_seconds() if self.start and self.end else None

    @property
    def as_of(self) -> str | None:
        """Date up to which partitions were read."""
        request: Mapping[str, Any] = self.opened.get("request") or {}
        return request.get("as_of")

    def result(self, step: str) -> Mapping[str, Any]:
        """Return the result of a step's only task; empty if it returned nothing."""
        found = self.results.get(step) or [{}]
        return found[0]

    @property
    def outcome(self) -> str:
        """Say in a word or two how it ended, or that it is going on."""
        if self.is_going or self.state == "failed":
            return self.state
        release = self.result("release")
        if not release:
            return self.state
        if not release.get("released"):
            return "not released"
        return "unchanged" if release.get("action") == "reused" else "released"


@dataclass(frozen=True)
class StepFacts:
    """One step of a run: what was planned, and its result.

    Attributes
    ----------
    planned : str
        Such as ``3 to run, 9 reused``; empty before there is a plan.
    reason : str
        Why it had to run.
    estimate_s : float or None
        Seconds that the plan expected.
    happened : str
        Such as ``ran 3, reused 9``; empty before it has ended.
    state : str
        ``ran``, ``reused``, ``skipped``, ``failed``, ``running`` or ``waiting``.
    seconds : float
        Of the step itself, all batches together.
    key : str or None
        Of its artifact, where it has one for all partitions.
    """

    step: str
    planned: str
    reason: str
    estimate_s: float | None
    happened: str
    said: str
    state: str
    rows: int | None
    seconds: float
    key: str | None


_PLANNED = {"run": "to run", "wait": "to see once its input is there", "reuse": "reused"}


def steps_of(run: RunFacts) -> list[StepFacts]:
    """List every step of a run, in order."""
    planned = {each["step"]: each for each in run.opened.get("steps", ())}
    return [_step(run, step, planned.get(step, {})) for step in ORDER]


def _step(run: RunFacts, step: str, plan: Mapping[str, Any]) -> StepFacts:
    results = [each for each in run.results.get(step, ()) if each]
    last = results[-1] if results else {}
    ran, reused = sum(each.get("ran") or 0 for each in results), sum(each.get("reused") or 0 for each in results)
    if step in PARTITIONED and results:  # what is reused is not among the batches
        reused = max(reused, int(run.opened.get("partitions", 0)) - ran)
    rows = [each["rows"] for each in results if each.get("rows") is not None]
    return StepFacts(
        step=step,
        planned=_count(plan) if step in PARTITIONED else _PLANNED.get(plan.get("action", ""), ""),
        reason=str(plan.get("reason", "")),
        estimate_s=plan.get("estimate_s"),
        happened=_happened(step, ran, reused, last),
        said="" if step in PARTITIONED else str(last.get("reason", "")),
        state=_state(run, step, results, ran),
        rows=sum(rows) if rows else None,
        seconds=sum(float(each.get("seconds") or 0) for each in results),
        key=last.get("key"),
    )


def _count(plan: Mapping[str, Any]) -> str:
    return ", ".join(f"{plan[action]} {words}" for action, words in _PLANNED.items() if plan.get(action))


def _happened(step: str, ran: int, reused: int, last: Mapping[str, Any]) -> str:
    if not last:
        return ""
    if step not in PARTITIONED:
        return str(last.get("action", ""))
    return ", ".join(f"{count} {word}" for count, word in ((ran, "ran"), (reused, "reused")) if count)


def _state(run: RunFacts, step: str, results: Sequence[Mapping[str, Any]], ran: int) -> str:
    states = {each.state for each in run.tasks if each.task == step}
    for state, shown in (("failed", "failed"), ("upstream_failed", "not run"), ("running", "running")):
        if state in states:
            return shown
    if "skipped" in states and not results:
        return "skipped"
    if not results:
        return "waiting" if run.is_going else "not run"
    if step in PARTITIONED:
        return "ran" if ran else "reused"
    return str(results[-1].get("action", "ran"))
