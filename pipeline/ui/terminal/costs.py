"""Costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from pipeline.ui.terminal.console import console, print_whole

if TYPE_CHECKING:
    from pipeline.runs.costs import Total


def show_costs(totals: Sequence[Total], by: str) -> None:
    """Print one line for each total, and the sum of all."""
    if not totals:
        console.print("nothing was computed ('modelrail run' computes; what is reused costs nothing)")
        return
    priced = any(each.amounts for each in totals)
    several = by in ("commit", "run")  # whose names do not tell the model
    table = Table(box=None, pad_edge=False)
    names = [by, *(["model"] if several else []), "from", "runs", "steps", "time", "CPU", "GiB-hours", "peak"]
    for name in [*names, *(["price"] if priced else [])]:
        left = name in (by, "model", "from")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for each in totals:
        row = [
            escape(each.name[:12] if by == "commit" else each.name),
            *([escape(", ".join(each.models))] if several else []),
            each.first[:16].replace("T", " "),
            str(each.runs),
            f"{each.steps} ({each.failed} failed)" if each.failed else str(each.steps),
            duration(each.usage.seconds),
            duration(each.usage.cpu_s),
            f"{each.usage.gib_hours:.4f}",
            f"{each.peak_bytes / 1e6:,.0f} MB",
        ]
        table.add_row(*row, *([money(each.amounts)] if priced else []))
    print_whole(table)  # a figure that is cut off says something else
    console.print(_sum(totals))


def _sum(totals: Sequence[Total]) -> str:
    amounts: dict[str, float] = {}
    for each in totals:
        for currency, amount in each.amounts.items():
            amounts[currency] = amounts.get(currency, 0.0) + amount
    seconds, cpu_s = (sum(getattr(each.usage, name) for each in totals) for name in ("seconds", "cpu_s"))
    price = f", {money(amounts)}" if amounts else " (environment.prices puts a price on it)"
    return f"in all {duration(seconds)}, {duration(cpu_s)} of CPU{price}"


def duration(seconds: float) -> str:
    """Write a duration: ``0.42 s``, ``2 min 5 s``, ``3 h 20 min``."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def money(amounts: Mapping[str, float]) -> str:
    """Write prices: ``1.20 EUR``; of small ones the first two digits that are not 0."""
    return " + ".join(f"{_amount(amount)} {currency}" for currency, amount in sorted(amounts.items()))


def _amount(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 0.1 or amount == 0 else f"{float(f'{amount:.2g}'):.6f}".rstrip("0")
