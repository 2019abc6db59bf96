"""What is inferred of a model's data, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from pipeline.ui.terminal.console import console

if TYPE_CHECKING:
    from pipeline.operations.inference import Inferred


def show_inferred(found: Inferred) -> None:
    """Show each column with its type, then what is doubtful."""
    console.print(f"{found.model}, partition {found.partition}", markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("column", "type", "by"):
        table.add_column(name)
    for name, type_ in found.columns.items():
        table.add_row(name, type_ or "no value", "the spec" if name in found.declared else "inferred")
    console.print(table)
    for said in (*found.notes, *(f"doubtful: {each}" for each in found.doubts)):
        console.print(said, markup=False)
