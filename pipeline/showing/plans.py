"""Plans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pipeline.planning import PlannedStep
from pipeline.showing.terminal import MARKS, console

if TYPE_CHECKING:
    from pipeline.job import Job


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
