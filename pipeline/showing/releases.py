"""Releases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from pipeline.showing.terminal import console

if TYPE_CHECKING:
    from pipeline.promotion import Change
    from pipeline.release import Release


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


def show_change(change: Change) -> None:
    """Print what a promotion or a rollback came to."""
    stage, live = change.stage, change.live
    console.print(
        f"[green]✓[/] {stage.release} is live in {stage.environment} at {live.address} [dim]({change.seconds:.1f} s)[/]"
    )
    console.print(f"  {stage.tag}: {stage.action} by {stage.who}, {stage.why}", markup=False)
    if live.note:
        console.print(f"  {live.note}", markup=False)
