"""Commands on data commits: what differs between two, and runs of earlier dates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import InputError
from pipeline.ui.commands.options import Environment, Json, SpecPath, find_spec, print_json

app = typer.Typer()
data = typer.Typer(help="What happened to the data.", no_args_is_help=True)
app.add_typer(data, name="data")


@data.callback()
def _data() -> None:
    """Keep ``diff`` as a subcommand: Typer would drop the name of a group's only command."""


@data.command(epilog="Example: modelrail data diff HEAD~1 HEAD flight-delay")
def diff(
    before: Annotated[str, typer.Argument(help="Commit, branch or tag of the data.")],
    after: Annotated[str, typer.Argument(help="Another one.")],
    spec: Annotated[Path | None, typer.Argument(help="By default the only spec in models/.", metavar="[SPEC]")] = None,
    environment: Environment = None,
    as_json: Json = False,
) -> None:
    """Say which partitions differ between two commits, by how many rows, and what moved in each column."""
    from pipeline.operations.data_comparison import compare
    from pipeline.runs.job import open_job
    from pipeline.runs.request import RunRequest
    from pipeline.ui.terminal.data import show_difference

    path = str(_only_spec() if spec is None else find_spec(spec))
    jobs = [open_job(RunRequest(path, environment, each)) for each in (before, after)]
    found = compare(*jobs)
    if as_json:
        print_json(found.to_json())
    else:
        show_difference(found)


@app.command(epilog="Example: modelrail backfill flight-delay --from 2013-06-01 --to 2013-12-01")
def backfill(
    spec: SpecPath,
    first: Annotated[str, typer.Option("--from", help="First day.")],
    last: Annotated[str, typer.Option("--to", help="Last day; included.")],
    commit: Annotated[str | None, typer.Option(help="Data commit that all dates see; by default the newest.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which dates would run, and run nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a model's scheduled dates anew in Airflow, oldest first; they are evaluated, and never released."""
    from pipeline.operations.backfill import backfill as run_dates
    from pipeline.ui.terminal.data import show_backfill

    found = run_dates(find_spec(spec), first, last, commit, dry_run=dry_run)
    if as_json:
        print_json(found.to_json())
    else:
        show_backfill(found)


def _only_spec() -> Path:
    from pipeline.spec.files import find_specs

    paths = find_specs()
    if len(paths) != 1:
        raise InputError(f"models/: found {len(paths)} specs; expected the name of one: modelrail data diff A B SPEC")
    return paths[0]
