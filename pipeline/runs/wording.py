"""A plan and a step's result in words."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.messages import count
from pipeline.runs.opened_run import OpenedRun, StepPlan
from pipeline.runs.results import StepResult


def describe_plan(opened: OpenedRun) -> Iterator[str]:
    """Say in words what will run and why, in at most a screenful."""
    yield f"{opened.model}: data {opened.data_commit}, spec {opened.spec_commit}"
    if opened.dirty:
        yield "The spec or the data has uncommitted changes: the model will be evaluated, but not released"
    for step in opened.steps:
        yield f"{step.step}: {_counts(step)}: {step.reason}"


def _counts(step: StepPlan) -> str:
    found = ((step.run, "to run"), (step.wait, "to see once its input is there"), (step.reuse, "reused"))
    return ", ".join(f"{number} {verb}" for number, verb in found if number)


def describe_step(result: StepResult) -> Iterator[str]:
    """Say in words what a step did."""
    rows = "" if result.rows is None else f", {count(result.rows, 'row')}"
    yield f"{result.step}: {result.action} in {result.seconds:.2f} s{rows}: {result.reason}"
    facts = result.facts
    yield from facts.verdict
    shown = {"version": facts.version, "tag": facts.tag, "address": facts.address}
    shown |= {"prediction": facts.prediction, "curl": facts.curl}
    yield from (f"{name}: {fact}" for name, fact in shown.items() if fact is not None)
