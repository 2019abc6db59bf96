"""Runs: each step as it ends, and the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from pipeline.messages import count
from pipeline.runs.plan.planning import PARTITIONED
from pipeline.ui.terminal.console import MARKS, console, interval

if TYPE_CHECKING:
    from pipeline.runs.results import StepResult

_OUTCOMES: Mapping[str, str] = {
    "released": "[bold green]released[/]",
    "unchanged": "[bold cyan]unchanged[/]: the newest release is this very model",
    "not released": "[bold yellow]not released[/]",
}


def show_step(result: StepResult) -> None:
    """Print the line of a step that has ended."""
    parts = f"{result.ran} of {result.ran + result.reused}" if result.step in PARTITIONED else ""
    rows = count(result.rows, "row") if result.rows is not None else ""
    figures = f"{parts:>9} {rows:>14} {result.seconds:7.2f} s"
    mark = MARKS["skipped"] if result.facts.released is False else MARKS[result.action]  # refused: not a success
    console.print(f"{mark} {result.step:<10}{figures}  [dim]{escape(result.reason)}[/]")
    for warning in result.warnings:
        console.print(f"  [bold yellow]warning:[/] {escape(warning)}")


def show_outcome(outcome: str, results: Sequence[StepResult]) -> None:
    """Print what came of a run: metrics against the gate, the release, the prediction, how to repeat it."""
    facts: dict[str, Any] = {}
    for each in results:
        facts |= each.facts.to_json()
    console.print()
    show_summary(outcome, facts, sum(each.seconds for each in results))


def show_summary(outcome: str, facts: Mapping[str, Any], seconds: float) -> None:
    """Print the summary of a run from its steps' facts; the same after ``modelrail run`` and after Airflow."""
    tag = f" {facts['tag']}" if facts.get("released") else ""
    console.print(f"{_OUTCOMES[outcome]}{tag} [dim]({seconds:.1f} s)[/]")
    if facts.get("tag") and (refusal := facts.get("refusal")):
        console.print(f"  [bold yellow]not live[/]: {escape(refusal)}")
    for name, estimate in facts.get("metrics", {}).items():
        console.print(f"  {name:<12} {interval(estimate)}")
    for line in facts.get("verdict", ()):
        console.print(f"  gate: {escape(line)}")
    if "prediction" in facts:
        answer, truth = (escape(str(facts.get(name))) for name in ("prediction", "truth"))
        console.print(f"  {escape(str(facts['record']))}\n  → [bold]{answer}[/] (in truth: {truth})")
        console.print(f"\n{facts['curl']}", style="cyan", markup=False)
