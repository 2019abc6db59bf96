"""A plan and a step's result in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.messages import count


def describe_plan(opened: Mapping[str, Any]) -> Iterator[str]:
    """Say in words what will run and why, in at most a screenful."""
    yield f"{opened['model']}: data {opened['data_commit']}, spec {opened['spec_commit']}"
    if opened.get("dirty"):
        yield "The spec or the data has uncommitted changes: the model will be evaluated, but not released"
    for step in opened["steps"]:
        counts = ", ".join(f"{step[action]} {verb}" for action, verb in _ACTIONS.items() if step[action])
        yield f"{step['step']}: {counts}: {step['reason']}"


_ACTIONS = {"run": "to run", "wait": "to see once its input is there", "reuse": "reused"}


def describe_step(result: Mapping[str, Any]) -> Iterator[str]:
    """Say in words what a step did."""
    rows = "" if result["rows"] is None else f", {count(result['rows'], 'row')}"
    yield f"{result['step']}: {result['action']} in {result['seconds']:.2f} s{rows}: {result['reason']}"
    yield from result.get("verdict", ())
    facts = ("version", "tag", "address", "prediction", "curl")
    yield from (f"{fact}: {result[fact]}" for fact in facts if result.get(fact) is not None)
