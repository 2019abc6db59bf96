"""Commands on this machine: what runs on it, what it lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import InputError
from pipeline.ui.commands.options import AsOf, DataCommit, Environment, Force, Json, Why, print_json, request
from pipeline.ui.examples import EXAMPLES

app = typer.Typer()


@app.command(epilog="Example: modelrail up models/flight-delay.yaml --run")
def up(
    spec: Annotated[Path | None, typer.Argument(help="The spec whose DAG --run triggers.", metavar="[SPEC]")] = None,
    run: Annotated[bool, typer.Option("--run", help="Trigger the spec's DAG, and follow it step by step.")] = False,
    leave: Annotated[bool, typer.Option("--exit", help="Once the run has ended, stop what was started.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return once all is up; 'modelrail down' stops it.")] = False,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    why: Why = "",
) -> None:
    """Start Airflow and MLflow on this machine (on loopback, with a login), until Ctrl-C."""
    from pipeline.ui.commands.hosting import host

    if run and spec is None:
        raise InputError("--run: found no spec; expected one: modelrail up SPEC --run")
    wanted = request(spec, environment, data_commit, as_of, force=force, reason=why) if spec else None
    raise typer.Exit(host(wanted if run else None, stay=not (leave or detach), stop=not detach))


@app.command(epilog="Example: modelrail down")
def down() -> None:
    """Stop everything that was started here: Airflow, MLflow and the deployed models."""
    from pipeline.delivery.platforms.local.deployments import stop_all
    from pipeline.home import home
    from pipeline.messages import count
    from pipeline.orchestration.services import down as stop_services

    models = stop_all(home())
    stopped = stop_services(home())
    services = "1 process" if stopped == 1 else f"{stopped} processes"
    ended = {f"{services} of Airflow and MLflow": stopped, count(len(models), "deployment"): len(models)}
    said = " and ".join(what for what, number in ended.items() if number)
    typer.echo(f"stopped {said}" if said else "nothing was running")


@app.command(epilog="Example: modelrail status --json")
def status(as_json: Json = False) -> None:
    """Say what runs on this machine, which release of each model is live, and what was changed by hand elsewhere."""
    from dataclasses import asdict

    from pipeline.answers import asking_once
    from pipeline.delivery.applied_settings import failures
    from pipeline.delivery.drift import observe
    from pipeline.delivery.platforms.local.deployments import deployments
    from pipeline.delivery.platforms.local.state import name_of
    from pipeline.home import home, store_address
    from pipeline.orchestration.services import find_dead, running
    from pipeline.runs.first_deployments import find_waiting
    from pipeline.spec.loading.names import list_specs
    from pipeline.storage.artifacts import open_store
    from pipeline.storage.git.repository import open_repository
    from pipeline.ui.terminal.machine import show_elsewhere, show_failures, show_status, show_waiting

    services, live = running(home()), deployments(home())
    failed = failures(open_store(store_address(home()), home()))
    try:
        repository = open_repository(Path.cwd())
        with asking_once():
            elsewhere, waiting = observe(repository), find_waiting(repository, list_specs(repository.root))
    except InputError:  # no repository: then no other place is known
        elsewhere, waiting = [], []
    if as_json:
        addresses = {"airflow": services.airflow_url, "mlflow": services.mlflow_url} if services else None
        print_json(
            {
                "services": addresses,
                "deployments": [asdict(each) for each in live],
                "elsewhere": [asdict(each) for each in elsewhere],
                "waiting": [{"model": model, "environment": environment} for model, environment in waiting],
                "failed": [asdict(each) for each in failed],
            }
        )
    else:
        asked = {name_of(each.model, each.environment) for each in elsewhere if each.live}
        here = [each for each in live if each.model not in asked] or live
        show_status(services, find_dead(services) if services else (), here)
        show_elsewhere(elsewhere)
        show_waiting(waiting)
        show_failures(failed)


@app.command(epilog="Example: modelrail example flights ~/flights")
def example(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(EXAMPLES)}.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the Git repository to make.")],
) -> None:
    """Make a data repository from real data; only the package index is needed for it."""
    if name not in EXAMPLES:
        raise InputError(f"found the example '{name}'; expected one of {', '.join(EXAMPLES)}")
    typer.echo(f"{EXAMPLES[name](folder)}: ready")


@app.command(epilog="Example: modelrail doctor models/flight-delay.yaml --environment prod")
def doctor(
    spec: Annotated[
        Path | None, typer.Argument(help="A spec whose run and deployment are asked about too.", metavar="[SPEC]")
    ] = None,
    environment: Environment = None,
    as_json: Json = False,
) -> None:
    """Say what is missing on this machine, and for a spec's run and deployment, what for, and how to get it."""
    from pipeline.operations.doctor import examine, examine_run
    from pipeline.ui.terminal.machine import show_findings

    if environment and spec is None:
        raise InputError("--environment: found no spec; expected one: modelrail doctor SPEC --environment NAME")
    asked = [examine_run(request(spec, environment, None, None, force=False))] if spec else []
    findings = [*examine(), *asked]
    if as_json:
        print_json([vars(each) for each in findings])
    else:
        show_findings(findings)
    raise typer.Exit(1 if any(each.ok is False for each in findings) else 0)
