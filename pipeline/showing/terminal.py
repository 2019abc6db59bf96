"""The terminal, and the marks and figures that every page of it shares."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)

MARKS: Mapping[str, str] = {
    "ran": "[green]✓[/]",
    "reused": "[cyan]=[/]",
    "skipped": "[yellow]–[/]",
    "run": "[green]▸[/]",
    "reuse": "[cyan]=[/]",
    "wait": "[yellow]…[/]",
}


def interval(estimate: Mapping[str, float | None]) -> str:
    """Write a metric with its interval."""
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f}  [{low:.4f}, {high:.4f}]"
