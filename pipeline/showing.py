"""What the command line prints for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.planning import PARTITIONED, PlannedStep

if TYPE_CHECKING:
    from pipeline.deployment.local import Deployment
    from pipeline.doctor import Finding
    from pipeline.job import Job
    from pipeline.release import Release
    from pipeline.session import StepResult
    from pipeline.standalone.services import Service, Services

console = Console(highlight=False, soft_wrap=True)

MARKS: Mapping[str, str] = {
    "ran": "[green]✓[/]",
    "reused": "[cyan]=[/]",
    "skipped": "[yellow]–[/]",
    "run": "[green]▸[/]",
    "reuse": "[cyan]=[/]",
    "wait": "[yellow]…[/]",
}
_OUTCOMES: Mapping[str, str] = {
    "released": "[bold green]released[/]",
    "unchanged": "[bold cyan]unchanged[/]: the newest release is this very model",
    "not released": "[bold yellow]not released[/]",
}


def show_plan(job: Job, steps: Sequence[PlannedStep]) -> None:
    """Print one line for each group of partitions that have the same fate."""
    console.print(
        f"[bold]{job.model}[/]: {len(job.partitions)} partitions at {job.data_commit[:12]}, {escape(job.data_address)}"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("", "step", "partitions", "why", "about"):
        table.add_column(name, justify="right" if name == "about" else "left", style="dim" if name == "why" else None)
    for group in _group(steps):
        seconds = [each.estimate_s for each in group]
        about = "" if None in seconds or group[0].action == "reuse" else f"{sum(filter(None, seconds)):.1f} s"
        table.add_row(MARKS[group[0].action], group[0].step, escape(_span(group)), escape(group[0].reason), about)
    console.print(table)
    todo = [each for each in steps if each.action != "reuse"]
    console.print(
        f"{len(todo)} to do, {len(steps) - len(todo)} reused" if todo else "nothing to compute: all is reused"
    )


def _group(steps: Sequence[PlannedStep]) -> Iterator[list[PlannedStep]]:
    group: list[PlannedStep] = []
    for each in steps:
        fate = (each.step, each.action, each.reason)
        if group and (group[0].step, group[0].action, group[0].reason) != fate:
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _span(group: Sequence[PlannedStep]) -> str:
    first, last = group[0].partition, group[-1].partition
    if first is None:
        return "all"
    return first if first == last else f"{first} … {last} ({len(group)})"


def show_step(result: StepResult) -> None:
    """Print the line of a step that has ended."""
    parts = f"{result.ran} of {result.ran + result.reused}" if result.step in PARTITIONED else ""
    rows = f"{result.rows:,} rows" if result.rows is not None else ""
    figures = f"{parts:>9} {rows:>14} {result.seconds:7.2f} s"
    console.print(f"{MARKS[result.action]} {result.step:<10}{figures}  [dim]{escape(result.reason)}[/]")


def show_outcome(outcome: str, results: Sequence[StepResult]) -> None:
    """Print what came of a run: metrics against the gate, the release, the prediction, how to repeat it."""
    facts: dict[str, Any] = {}
    for each in results:
        facts |= each.facts
    console.print()
    show_summary(outcome, facts, sum(each.seconds for each in results))


def show_summary(outcome: str, facts: Mapping[str, Any], seconds: float) -> None:
    """Print the summary of a run from its steps' facts; the same after ``modelrail run`` and after Airflow."""
    tag = f" {facts['tag']}" if facts.get("released") else ""
    console.print(f"{_OUTCOMES[outcome]}{tag} [dim]({seconds:.1f} s)[/]")
    for name, estimate in facts.get("metrics", {}).items():
        console.print(f"  {name:<12} {interval(estimate)}")
    for line in facts.get("verdict", ()):
        console.print(f"  gate: {escape(line)}")
    if "prediction" in facts:
        answer, truth = (escape(str(facts[name])) for name in ("prediction", "truth"))
        console.print(f"  {escape(str(facts['record']))}\n  → [bold]{answer}[/] (in truth: {truth})")
        console.print(f"\n{facts['curl']}", style="cyan", markup=False)


def interval(estimate: Mapping[str, float | None]) -> str:
    """Write a metric with its interval."""
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f}  [{low:.4f}, {high:.4f}]"


def show_releases(model: str, history: Sequence[Release], live: str | None) -> None:
    """Print the releases, newest first."""
    if not history:
        console.print(f"{model}: no release yet ('modelrail run' makes the first)")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("release", "date", "data", "spec", "metrics", "live"):
        table.add_column(name, no_wrap=name != "metrics", overflow="fold")
    for release in reversed(history):
        evidence = release.evidence
        metrics = ", ".join(
            f"{name} {value['value']:.4f}" for name, value in evidence.metrics.items() if value["value"]
        )
        table.add_row(
            release.tag,
            f"{release.date:%Y-%m-%d %H:%M}" if release.date else "",
            evidence.data_commit[:10],
            evidence.spec_commit[:10],
            metrics,
            "[green]live[/]" if live and live.removeprefix("v") == str(release.version) else "",
        )
    console.print(table)


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what the doctor found."""
    marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]–[/]"}
    for each in findings:
        console.print(f"{marks[each.ok]} {each.name:<22} {each.found}  [dim]{each.needed_for}[/]")
        if each.ok is not True and each.mend:
            console.print(f"    {each.mend}")


def show_status(services: Services | None, dead: Sequence[Service], live: Sequence[Deployment]) -> None:
    """Print what runs."""
    if services is None:
        console.print("Airflow and MLflow: not running ('modelrail up' starts them)")
    else:
        console.print(f"Airflow  {services.airflow_url}\nMLflow   {services.mlflow_url}")
    for each in dead:
        console.print(f"[red]{each.name} has ended[/]: see {each.log}")
    for deployment in live:
        console.print(f"{deployment.model} v{deployment.version.removeprefix('v')}  {deployment.address}")
    if not live:
        console.print("no model is live ('modelrail run' makes one)")
