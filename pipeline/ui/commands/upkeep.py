"""Commands that keep a deployment in order: what it costs, what may go, what to do when it is lost."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.errors import InputError
from pipeline.ui.commands.options import Json, print_json, read_date

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from pipeline.runs.costs import Spent, Total
    from pipeline.storage.artifacts import Store

app = typer.Typer()

_UNITS = {"d": "days", "w": "weeks"}
By = Literal["model", "commit", "step", "release", "run"]


@app.command(epilog="Example: modelrail cost --by release --since 2026-11-01")
def cost(
    by: Annotated[By, typer.Option("--by", help="What to add up by.")] = "model",
    model: Annotated[str | None, typer.Option("--model", help="Only this model.", metavar="MODEL")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Date; only what began then or later.")] = None,
    as_json: Json = False,
) -> None:
    """Say what computing took: time, CPU, memory, and the price where `environment.prices` says one."""
    from dataclasses import asdict

    from pipeline.home import home
    from pipeline.runs.costs import read_costs
    from pipeline.ui.terminal.costs import show_costs

    spent = read_costs(_open_store(home()), model, read_date(since))
    totals = _add_up(spent, by)
    if as_json:
        print_json({"by": by, "totals": [asdict(each) for each in totals]})
    else:
        show_costs(totals, by)


@app.command(epilog="Example: modelrail gc --keep 14d")
def gc(
    keep: Annotated[
        str, typer.Option("--keep", help="What was made or needed within this time stays: 2w, 30d.")
    ] = "30d",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Remove artifacts that no release, no recent run and no plan of today's specs needs; first say what would go."""
    from datetime import UTC, datetime

    from pipeline.operations.garbage.surveying import survey
    from pipeline.operations.garbage.sweeping import sweep
    from pipeline.ui.terminal.garbage import describe_survey, show_survey, show_swept

    found = survey(Path.cwd(), _read_time(keep), datetime.now(UTC))
    if not as_json:
        show_survey(found)
    agreed = yes or (not as_json and found.has_work and sys.stdin.isatty() and typer.confirm("Remove it?"))
    done = sweep(found, datetime.now(UTC)) if agreed and found.has_work else None
    if as_json:
        print_json(describe_survey(found, done))
    elif found.has_work:
        show_swept(done)


@app.command(epilog="Example: modelrail backup ~/backups/2026-11-23.tar")
def backup(
    file: Annotated[Path, typer.Argument(help="The new file; it will hold logins, so only you can read it.")],
    as_json: Json = False,
) -> None:
    """Write all that is not in Git into one file, while everything runs: store, MLflow, Airflow, live models."""
    from dataclasses import asdict

    from pipeline.home import home
    from pipeline.operations.backups.saving import back_up
    from pipeline.ui.terminal.upkeep import show_backup

    made = back_up(home(), file)
    if as_json:
        print_json(asdict(made))
    else:
        show_backup(made)


@app.command(epilog="Example: modelrail restore ~/backups/2026-11-23.tar")
def restore(
    file: Annotated[Path, typer.Argument(help="A file that 'modelrail backup' has written.")],
    replace: Annotated[bool, typer.Option("--replace", help="Move an existing state away.")] = False,
    as_json: Json = False,
) -> None:
    """Check a backup byte by byte, put it in place, and make live again what was."""
    from dataclasses import asdict

    from pipeline.home import home
    from pipeline.operations.backups.restoring import restore as put_back
    from pipeline.ui.terminal.upkeep import show_restored

    done = put_back(file, home(), replace=replace)
    if as_json:
        print_json(asdict(done))
    else:
        show_restored(done)
    raise typer.Exit(1 if done.failed else 0)


def _open_store(state: Path) -> Store:
    from pipeline.home import store_address
    from pipeline.storage.artifacts import open_store

    return open_store(store_address(state), state)


def _add_up(spent: Sequence[Spent], by: By) -> list[Total]:
    from pipeline.delivery.releases import releases
    from pipeline.runs.costs import GROUPS, add_up, by_release
    from pipeline.runs.plan.planning import ORDER
    from pipeline.storage.git.repository import open_repository

    if by == "release":
        repository = open_repository(Path.cwd())
        models = dict.fromkeys(each.model for each in spent)
        return add_up(spent, by_release([each for model in models for each in releases(repository, model)], spent))
    totals = add_up(spent, GROUPS[by])
    return sorted(totals, key=lambda each: ORDER.index(each.name)) if by == "step" else totals


def _read_time(text: str) -> timedelta:
    from datetime import timedelta

    match = re.fullmatch(r"(\d{1,5})([dw])", text)
    if match is None or match[1].strip("0") == "":
        raise InputError(f"--keep: found '{text}'; expected days or weeks, at least 1d: a run may go on for as long")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})
