"""What is live, as it was judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.ui.terminal.console import console

if TYPE_CHECKING:
    from pipeline.monitoring.watching import Look


def show_look(found: Look) -> None:
    """Print a verdict, what led to it, and what may be done."""
    first, *rest = found.lines
    colour = "yellow" if found.judged.verdict == "waiting" else "green" if found.is_quiet else "red"
    console.print(first, style=colour, markup=False, highlight=False)
    for line in rest:
        console.print(line, markup=False, highlight=False)
