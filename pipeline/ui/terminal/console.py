"""The terminal, and the marks and figures that every page of it shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)

MARKS: Mapping[str, str] = {
    "ran": "[green]✓[/]",
    "reused": "[cyan]=[/]",
    "skipped": "[yellow]–[/]",
    "run": "[green]▸[/]",
    "reuse": "[cyan]=[/]",
    "wait": "[yellow]…[/]",
}

_WIDEST = 10_000


def print_whole(table: Table) -> None:
    """Print a table as wide as its content; a narrower terminal breaks the lines, and nothing is cut off.

    The width is the table's own, since `Console.print` takes none beyond that of the terminal.
    """
    table.width = table.__rich_measure__(console, console.options.update(width=_WIDEST)).maximum
    console.print(table)


def print_columns(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print plain text in columns as wide as their content; a thousand rows take a table of Rich most of a second."""
    shown = [tuple(map(plain, row)) for row in rows]
    widths = [max(cell_len(row[place]) for row in (heads, *shown)) for place in range(len(heads))]
    console.print(_line(heads, widths), style="bold", markup=False)
    console.file.write("".join(f"{_line(row, widths)}\n" for row in shown))


def plain(text: str) -> str:
    """Write a text on one line without control characters: what others wrote must not move the terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in " ".join(text.split()))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (f"{cell}{' ' * (width - cell_len(cell))}" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def interval(estimate: Mapping[str, float | None]) -> str:
    """Write a metric with its interval."""
    value, low, high = (estimate.get(name) for name in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.4f}" if low is None or high is None else f"{value:.4f}  [{low:.4f}, {high:.4f}]"
