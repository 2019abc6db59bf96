"""What people see of data commits: differences, and dates that are run anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from pipeline.messages import count
from pipeline.ui.terminal.console import console

if TYPE_CHECKING:
    from pipeline.operations.backfill import Backfill
    from pipeline.operations.data_comparison import Column, Difference, Partition

_SHOWN = 60


def show_difference(found: Difference) -> None:
    """Show the partitions that differ, and what moved in which column."""
    console.print(f"{found.before[:12]} → {found.after[:12]}: {_count(found)}")
    if found.partitions:
        console.print(_partitions(found))
    if len(found.partitions) > _SHOWN:
        console.print(f"… and {len(found.partitions) - _SHOWN} more (--json has them all)")
    if found.columns:
        console.print("\nWhat moved, over the partitions that differ:")
        console.print(_columns(found))


def _count(found: Difference) -> str:
    kinds = [each.kind for each in found.partitions]
    counts = [f"{kinds.count(kind)} {kind}" for kind in ("added", "changed", "removed") if kind in kinds]
    return f"{', '.join(counts) or 'nothing differs'}, {found.unchanged} unchanged"


def _partitions(found: Difference) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in (
        ("partition", "left"),
        ("", "left"),
        ("rows before", "right"),
        ("after", "right"),
        ("", "right"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left")
    for each in found.partitions[:_SHOWN]:
        table.add_row(each.key, each.kind, _rows(each.rows_before), _rows(each.rows_after), _note(each))
    return table


def _note(each: Partition) -> str:
    if each.trouble:
        return each.trouble
    if each.rows_before is None or each.rows_after is None:
        return ""
    return f"{each.rows_after - each.rows_before:+,}"


def _columns(found: Difference) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("column", "mean", "missing", "range", "values"):
        table.add_column(name)
    for each in found.columns:
        missing = _pair(each, "missing_share", ".1%")
        table.add_row(each.name, _pair(each, "mean", ".6g"), missing, _range(each), _values(each))
    return table


def _pair(column: Column, name: str, form: str) -> str:
    sides = [format(side[name], form) if name in side else "–" for side in (column.before, column.after)]
    return "" if sides == ["–", "–"] else sides[0] if sides[0] == sides[1] else " → ".join(sides)


def _range(column: Column) -> str:
    sides = [f"{side['low']:.6g} … {side['high']:.6g}" if "low" in side else "–"
             for side in (column.before, column.after)]  # fmt: skip
    return "" if sides == ["–", "–"] else sides[0] if sides[0] == sides[1] else " → ".join(sides)


def _values(column: Column) -> str:
    parts = ((f"{column.new_count} new", column.new), (f"{column.gone_count} gone", column.gone))
    return "; ".join(f"{head}: {', '.join(values)}" for head, values in parts if values)


def _rows(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def show_backfill(found: Backfill) -> None:
    """Show the dates, how much each sees, and where to follow them."""
    for at in found.empty:
        console.print(f"{at:%Y-%m-%d %H:%M}  [yellow]left out[/]: no partition had ended by then")
    for at, seen in found.dates:
        console.print(f"{at:%Y-%m-%d %H:%M}  sees {count(seen, 'partition')}")
    word = "would run" if found.id is None else f"backfill {found.id}:"
    commits = f"data {found.commit[:12]} and spec {found.spec_commit[:12]}"
    console.print(f"{word} {count(len(found.dates), 'date')} of {found.model} at {commits}, oldest first")
    if found.id is not None:
        run = f"walk-forward {found.commit[:10]} {found.spec_commit[:10]}"
        console.print(f"follow it at {found.page}; the metrics are in MLflow: {run}")
