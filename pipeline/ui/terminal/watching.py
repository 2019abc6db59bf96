"""What is live, as it was judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.ui.terminal.console import console

if TYPE_CHECKING:
    from pipeline.monitoring.account import Account
    from pipeline.monitoring.watching import Look


def show_look(found: Look, actions: Sequence[str] = ()) -> None:
    """Print a verdict, what led to it, what may be done, and what was."""
    first, *rest = found.lines
    colour = "yellow" if found.judged.verdict == "waiting" else "green" if found.is_quiet else "red"
    console.print(first, style=colour, markup=False, highlight=False)
    for line in [*rest, *(f"  {each}" for each in actions)]:
        console.print(line, markup=False, highlight=False)


def show_account(found: Account) -> None:
    """Print what the last look has found, and what was done about it."""
    first, *rest = found.look.lines
    console.print(first, style="red" if found.look.signals else "green", markup=False, highlight=False)
    for line in (*rest, f"  looked at {found.at}", *(f"  {each}" for each in found.done)):
        console.print(line, markup=False, highlight=False)
