"""The audit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.messages import count
from pipeline.ui.terminal.console import console, print_columns

if TYPE_CHECKING:
    from pipeline.operations.provenance.auditing import Event

_HEADS = ("when", "who", "did", "what", "id", "why", "flags")


def show_audit(events: Sequence[Event], notes: Sequence[str]) -> None:
    """Print what happened, oldest first, and how much of it is flagged."""
    if events:
        print_columns(_HEADS, [_row(each) for each in events])
    flagged = sum(bool(each.flags) for each in events)
    console.print(f"{count(len(events), 'event')}, {flagged:,} flagged", markup=False)
    for note in notes:
        console.print(note, markup=False)


def _row(each: Event) -> tuple[str, ...]:
    who = f"{each.who} (tag by {each.by})" if each.by and each.action != "changed" else each.who
    when = f"{each.when:%Y-%m-%d %H:%M}" if each.when else ""
    short = each.id if "@" in each.id or "#" in each.id else each.id[:10]
    return (when, who, each.action, each.what, short, each.why, "; ".join(each.flags))
