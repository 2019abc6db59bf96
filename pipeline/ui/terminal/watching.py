"""What is live, as it was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from pipeline.messages import count
from pipeline.ui.terminal.console import console
from pipeline.ui.terminal.costs import duration

if TYPE_CHECKING:
    from pipeline.monitoring.watching import Look

_SAID = {
    "quiet": "[green]quiet[/]",
    "waiting": "[yellow]too few requests to tell[/]",
    "failures": "[red]too many requests fail[/]",
    "refusals": "[red]too many requests are refused[/]",
    "drift": "[red]what it is asked has moved[/]",
}
_SIGNS = 5


def show_look(found: Look) -> None:
    """Print a verdict, what led to it, and what may be done."""
    judged, diagnosis = found.judged, found.diagnosis
    window = "since its server began" if judged.seconds is None else f"in {duration(judged.seconds)}"
    console.print(
        f"[bold]{found.model}[/] v{found.version} in {found.environment}: {_SAID[judged.verdict]} "
        f"({count(judged.requests, 'request')}, {count(judged.rows, 'row')} {window})"
    )
    for sign in diagnosis.signs[:_SIGNS]:
        console.print(f"  {escape(sign.text)}")
    if len(diagnosis.signs) > _SIGNS:
        console.print(f"  and {len(diagnosis.signs) - _SIGNS} more (--json has them all)")
    if diagnosis.suggestion:
        console.print(f"  → {escape(diagnosis.suggestion)}")
    for each in judged.quality:
        fell = " [red]lower[/]" if each.worse else ""
        console.print(
            f"  {each.metric} by its scores {each.value:.3f} [{each.low:.3f}, {each.high:.3f}],"
            f" on its test rows {each.reference:.3f}{fell}",
            highlight=False,
        )
