"""Commands on a spec: check it, say what would run, run it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import (
    AsOf,
    DataCommit,
    Environment,
    Force,
    Json,
    SpecPath,
    Why,
    find_spec,
    print_json,
    request,
)
from pipeline.errors import InputError

app = typer.Typer()


@app.command(epilog="Example: modelrail check models/flight-delay.yaml --environment prod")
def check(
    specs: Annotated[list[Path] | None, typer.Argument(help="Specs; by default all in models/.")] = None,
    environment: Environment = None,
    as_json: Json = False,
) -> None:
    """Find every mistake in every spec: file, line, column, what was found, what was expected."""
    from pipeline.spec.files import find_specs
    from pipeline.spec.loading import check_specs

    paths = [find_spec(path) for path in specs] if specs else find_specs()
    if not paths:
        raise InputError("models/: found no spec; expected at least one YAML file (docs/your-own-data.md)")
    problems = check_specs(paths, environment)
    if as_json:
        print_json([vars(each) for each in problems])
    else:
        for problem in problems:
            typer.echo(str(problem))
        typer.echo(f"{len(paths)} specs, {len(problems)} problems" if problems else f"{len(paths)} specs: all is well")
    raise typer.Exit(InputError.exit_code if problems else 0)


@app.command(epilog="Example: modelrail schema > model.schema.json")
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from pipeline.spec.publishing import json_schema

    print_json(json_schema())


@app.command(epilog="Example: modelrail plan models/flight-delay.yaml")
def plan(
    spec: SpecPath,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Say which steps would run for which partitions, why, and for how long. Nothing is run."""
    from pipeline.job import open_job
    from pipeline.session import Session
    from pipeline.showing.plans import show_plan

    session = Session(open_job(request(spec, environment, data_commit, as_of, force=force)))
    steps = session.plan()
    if as_json:
        print_json({"data_commit": session.job.data_commit, "steps": [vars(each) for each in steps]})
    else:
        show_plan(session.job, steps)


@app.command(epilog="Example: modelrail run models/flight-delay.yaml --why 'new features'")
def run(
    spec: SpecPath,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Run what changed, in this process: from the data commit to the verified deployment."""
    from pipeline import running
    from pipeline.showing.runs import show_outcome, show_step

    wanted = request(spec, environment, data_commit, as_of, force=force, reason=why)
    outcome, results = running.run(wanted, report=(lambda _: None) if as_json else show_step)
    if as_json:
        print_json({"outcome": outcome, "steps": [each.to_json() for each in results]})
    else:
        show_outcome(outcome, results)


@app.command(epilog="Example: modelrail step train models/flight-delay.yaml --data-commit 4be1a2c")
def step(
    name: Annotated[str, typer.Argument(help="clean, transform, normalize, train, evaluate, release, deploy, verify.")],
    spec: SpecPath,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    partition: Annotated[list[str] | None, typer.Option(help="For clean and transform: only this one.")] = None,
    mlflow_run: Annotated[str | None, typer.Option(help="MLflow run to record the step in.")] = None,
) -> None:
    """Run one step (or reuse what is there) and print its result as JSON; what Airflow and pods call."""
    from pipeline import running

    wanted = request(spec, environment, data_commit, as_of, force=force)
    print_json(running.run_one(name, wanted, partition or None, mlflow_run))
