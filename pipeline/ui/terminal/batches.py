"""What became of a batch, for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from pipeline.messages import count
from pipeline.operations.batches.files import rejected_beside
from pipeline.operations.batches.predicting import Scored, Tell


@contextmanager
def show_progress() -> Iterator[Tell]:
    """Show a bar on a terminal while a batch is scored."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("rows", total=1.0)

        def tell(rows: int, share: float) -> None:
            progress.update(task, completed=share, description=count(rows, "row"))

        yield tell


def show_scored(found: Scored, by: str, out: Path) -> None:
    """Say how many rows were predicted and by which release, and which were not and why."""
    typer.echo(f"{out}: {count(found.predictions, 'prediction')} by {by}")
    if found.rejected:
        beside = rejected_beside(out)
        typer.echo(
            f"{beside}: {found.rejected:,} of {count(found.rows, 'row')} without a prediction, such as", err=True
        )
        for reason in found.reasons:
            typer.echo(f"  {reason}", err=True)
