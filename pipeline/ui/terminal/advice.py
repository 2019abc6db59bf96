"""Advice on what steps and servers get."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pipeline.messages import count
from pipeline.ui.terminal.console import console, print_whole

if TYPE_CHECKING:
    from pipeline.monitoring.advice import Advice
    from pipeline.spec.schema.run import Prices

_SAID = {"waste": "too much", "tight": "too little"}


def show_advice(model: str, found: Sequence[Advice], judged: Sequence[str], prices: Prices | None) -> None:
    """Print one line for each key that should be set otherwise; of none, what was looked at."""
    said = "nothing to change" if not found else f"{count(len(found), 'key')} to change"
    console.print(escape(f"{model}: {said} ({'; '.join(judged)})"))
    if not found:
        return
    table = Table(box=None, pad_edge=False)
    for name in ("key", "", "now", "better", "measured", "saves a month"):
        table.add_column(name, no_wrap=name != "measured")
    for each in found:
        saves = f"{each.saves:,.2f} {prices.currency}" if prices and each.saves else ""
        table.add_row(escape(each.key), _SAID[each.kind], each.now, each.better, escape(each.why), saves)
    print_whole(table)
    console.print("(--patch prints what the spec or its environment would say)")
