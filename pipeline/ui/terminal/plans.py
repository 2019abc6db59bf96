"""Plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from pipeline.messages import count
from pipeline.runs.costs import Usage
from pipeline.runs.plan.planning import PlannedStep
from pipeline.ui.terminal.console import MARKS, console
from pipeline.ui.terminal.costs import duration, money
from pipeline.ui.terminal.sections import markdown_cell

if TYPE_CHECKING:
    from pipeline.operations.review import Review
    from pipeline.runs.job import Job
    from pipeline.spec.schema.spec import Spec


def show_plan(found: Review) -> None:
    """Print one line for each group of partitions that are treated alike, and what changes in the deployment."""
    job, steps = found.job, found.steps
    console.print(
        f"[bold]{job.model}[/]: {count(len(job.partitions), 'partition')} at {job.data_commit[:12]}, "
        f"{escape(job.data_address)}"
    )
    table = Table(box=None, pad_edge=False)
    for name in ("", "step", "partitions", "why", "about"):
        table.add_column(name, justify="right" if name == "about" else "left", style="dim" if name == "why" else None)
    for group in _group(steps):
        seconds = [each.estimate_s for each in group]
        about = "" if None in seconds or group[0].action == "reuse" else f"{sum(filter(None, seconds)):.1f} s"
        table.add_row(MARKS[group[0].action], group[0].step, escape(_span(group)), escape(group[0].reason), about)
    console.print(table)
    todo = found.todo
    console.print(
        f"{_count(todo):,} to do, {_count(steps) - _count(todo):,} reused{_estimate(job, steps)}"
        if todo
        else "nothing to compute: all is reused"
    )
    console.print(f"deployment: {escape(found.say)}")
    for change in found.changes:
        console.print(f"  {escape(str(change))}")
    for note in found.notes:
        console.print(f"[yellow]note[/]: {escape(note)}")


def markdown_plan(found: Review) -> str:
    """Write a plan as Markdown: a heading, a sentence, a table of what is not reused, and the deployment."""
    job, todo = found.job, found.todo
    lines = [f"### {job.model}", ""]
    where = f"{count(len(job.partitions), 'partition')} at `{job.data_commit[:12]}`"
    if todo:
        planned, reused = _count(todo), _count(found.steps) - _count(todo)
        lines += [f"**{planned:,} to do**, {reused:,} reused{_estimate(job, found.steps)} ({where}).", ""]
        groups = [(group[0].action, group[0].step, _span(group), group[0].reason) for group in _group(todo)]
        lines += markdown_table(("", "step", "partitions", "why"), groups)
    else:
        lines += [f"Nothing to compute: all is reused ({where}).", ""]
    lines += [f"Deployment: {markdown_cell(found.say)}.", ""]
    if found.changes:
        lines += markdown_table(("setting", "now", "then"), [(each.path, *each.sides) for each in found.changes])
    return "\n".join([*lines, *(f"> {markdown_cell(note)}\n" for note in found.notes)])


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Write a table as lines of Markdown, with an empty one after it."""
    table = [head, ["---"] * len(head), *([markdown_cell(each) for each in row] for row in rows)]
    return [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in table] + [""]


def describe_plan(found: Review) -> dict[str, Any]:
    """Say for a program what `show_plan` says to a person."""
    return found.to_json() | {"estimate": total_estimate(found.job.spec, found.steps)}


def total_estimate(spec: Spec, steps: Sequence[PlannedStep]) -> dict[str, Any]:
    """Add up what the steps that would run, or may have to, took the last time.

    Returns
    -------
    dict
        ``seconds``, ``cpu_s``, ``gib_hours``; ``unknown``: how many steps have no last time and are not counted;
        ``price`` and ``currency``, None where the environment has no prices.
    """
    todo = [each for each in steps if each.action != "reuse"]
    known = [each for each in todo if each.estimate_s is not None]
    used = sum((Usage.of(each.estimate_s or 0.0, each.cpu_s or 0.0, each.peak_bytes or 0.0) for each in known), Usage())
    prices = spec.environment.prices
    price = used.price({"cpu_hour": prices.cpu_hour, "gib_hour": prices.gib_hour}) if prices else None
    return vars(used) | {
        "unknown": len(todo) - len(known),
        "price": price,
        "currency": prices.currency if prices else None,
    }


def _estimate(job: Job, steps: Sequence[PlannedStep]) -> str:
    found = estimate_of(job, steps)
    return f", about {found}" if found else ""


def estimate_of(job: Job, steps: Sequence[PlannedStep]) -> str:
    """Write how long the steps will take, and at what price; nothing where none of them has run before."""
    found = total_estimate(job.spec, steps)
    if not found["seconds"]:
        return ""
    price = f", {money({found['currency']: found['price']})}" if found["currency"] else ""
    unknown = f", and {found['unknown']} that never ran here" if found["unknown"] else ""
    return f"{duration(found['seconds'])}{price}{unknown}"


def tasks_of(steps: Sequence[PlannedStep]) -> str:
    """Write how many of the steps are to do, partitions counted."""
    return f"{_count([each for each in steps if each.action != 'reuse']):,} of {_count(steps):,}"


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
    many = _count(group)
    if first == last:  # a pack goes by its first partition
        return first if many == 1 else f"{first} … ({many:,})"
    return f"{first} … {last} ({many:,})"


def _count(steps: Sequence[PlannedStep]) -> int:
    """Count the partitions that steps are for; a step for all of them counts as one."""
    return sum(each.partitions for each in steps)
