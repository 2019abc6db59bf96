"""Backups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape

from pipeline.ui.terminal.console import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.operations.backups.restoring import Restored
    from pipeline.operations.backups.saving import Backup


def show_backup(made: Backup) -> None:
    """Print what was written, and what is not in it."""
    console.print(f"{escape(made.file)}: {made.files:,} files, {made.bytes / 1e6:,.1f} MB")
    console.print("it holds Airflow's login and secrets: only you can read it; keep it so")
    _show_outside(made.outside)


def show_restored(done: Restored) -> None:
    """Print what was put in place, and what is live again."""
    console.print(f"{escape(done.home)}: the state of {escape(done.made)} is back")
    if done.before:
        console.print(f"what was there before is in {escape(done.before)}; remove it when you are content")
    for each in done.live:
        console.print(f"{escape(each.model)} v{escape(each.version.removeprefix('v'))} is live at {each.address}")
        if each.note:
            console.print(f"  {escape(each.note)}")
    for failure in done.failed:
        console.print(f"[red]not live again[/]: {escape(failure)}; 'modelrail run' makes it live")
    _show_outside(done.outside)


def _show_outside(outside: Sequence[str]) -> None:
    for each in outside:
        console.print(f"[yellow]not in the backup[/]: {escape(each)}")
