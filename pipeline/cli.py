"""The command line: every command, thin. What a command needs is imported when it runs.

Exit codes: 0 done, 1 failed, 2 wrong input, 75 try again (nothing is wrong; it may work later).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import InputError, ModelrailError

if TYPE_CHECKING:
    from pipeline.job import RunRequest

app = typer.Typer(
    name="modelrail",
    help="From a Git commit to a model in production, on plain Airflow, MLflow and Kubernetes.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong input, 75 try again. Begin with: modelrail check",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecPath = Annotated[Path, typer.Argument(help="The spec: a YAML file, or a model's name in models/.", metavar="SPEC")]
Environment = Annotated[str | None, typer.Option("--environment", "-e", help="Overlay from environments/.")]
DataCommit = Annotated[str | None, typer.Option(help="Commit, branch or tag of the data; by default the newest.")]
AsOf = Annotated[str | None, typer.Option(help="Date; partitions whose period ends later are left out.")]
Force = Annotated[bool, typer.Option("--force", help="Compute everything anew.")]
Why = Annotated[str, typer.Option("--why", help="Reason, recorded with the run and the release.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command(epilog="Example: modelrail check models/flight-delay.yaml --environment prod")
def check(
    specs: Annotated[list[Path] | None, typer.Argument(help="Specs; by default all in models/.")] = None,
    environment: Environment = None,
    as_json: Json = False,
) -> None:
    """Find every mistake in every spec: file, line, column, what was found, what was expected."""
    from pipeline.spec.files import find_specs
    from pipeline.spec.loading import check_specs

    paths = [_spec(path) for path in specs] if specs else find_specs()
    if not paths:
        raise InputError("models/: found no spec; expected at least one YAML file (docs/your-own-data.md)")
    problems = check_specs(paths, environment)
    if as_json:
        _print_json([vars(each) for each in problems])
    else:
        for problem in problems:
            typer.echo(str(problem))
        typer.echo(f"{len(paths)} specs, {len(problems)} problems" if problems else f"{len(paths)} specs: all is well")
    raise typer.Exit(InputError.exit_code if problems else 0)


@app.command(epilog="Example: modelrail schema > model.schema.json")
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from pipeline.spec.publishing import json_schema

    _print_json(json_schema())


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
    from pipeline.showing import show_plan

    session = Session(open_job(_request(spec, environment, data_commit, as_of, force=force)))
    steps = session.plan()
    if as_json:
        _print_json({"data_commit": session.job.data_commit, "steps": [vars(each) for each in steps]})
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
    from pipeline.showing import show_outcome, show_step

    request = _request(spec, environment, data_commit, as_of, force=force, reason=why)
    outcome, results = running.run(request, report=(lambda _: None) if as_json else show_step)
    if as_json:
        _print_json({"outcome": outcome, "steps": [each.to_json() for each in results]})
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

    request = _request(spec, environment, data_commit, as_of, force=force)
    _print_json(running.run_one(name, request, partition or None, mlflow_run))


@app.command(epilog="Example: modelrail serve flight-delay@v1.0.0 --port 8080")
def serve(
    model: Annotated[str, typer.Argument(help="MODEL or MODEL@VERSION.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Server processes.")] = 1,
) -> None:
    """Serve a release in the foreground, until Ctrl-C."""
    from pipeline.bundles import bundle_of
    from pipeline.serving.server import serve as serve_bundle

    release, store, state = _release(model)
    serve_bundle(bundle_of(release, store, state), host, port, workers)


@app.command(epilog="""Example: modelrail predict LinearRegression --record '{"x": 0.5}'""")
def predict(
    model: Annotated[str, typer.Argument(help="A model that is live on this machine.")],
    record: Annotated[str | None, typer.Option(help="One record or a list, as JSON; by default the example.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Ask for class probabilities too.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the live model for a prediction."""
    from pipeline.client import predict as ask
    from pipeline.deployment.local import live
    from pipeline.home import home

    deployment = live(model, home())
    if deployment is None:
        raise InputError(f"found no live deployment of '{model}'; expected one: 'modelrail run' makes it live")
    records = _parse_records(record) if record else _example(Path(deployment.bundle))
    answer = ask(deployment.address, records, probabilities=probabilities)
    if as_json:
        _print_json(vars(answer))
    else:
        typer.echo(f"{answer.model} v{answer.version.removeprefix('v')}: {', '.join(map(str, answer.outputs))}")


@app.command(epilog="Example: modelrail releases flight-delay")
def releases(model: Annotated[str, typer.Argument(help="Name of the model.")], as_json: Json = False) -> None:
    """List a model's releases, newest first, with their evidence."""
    from dataclasses import asdict

    from pipeline.deployment.local import live
    from pipeline.home import home
    from pipeline.release import releases as list_releases
    from pipeline.repository import open_repository
    from pipeline.showing import show_releases

    history = list_releases(open_repository(Path.cwd()), model)
    now = live(model, home())
    if as_json:
        _print_json([asdict(each) | {"tag": each.tag, "version": str(each.version)} for each in reversed(history)])
    else:
        show_releases(model, history, now.version if now else None)


@app.command(epilog="Example: modelrail up models/flight-delay.yaml --run")
def up(
    spec: Annotated[Path | None, typer.Argument(help="The spec whose DAG --run triggers.", metavar="[SPEC]")] = None,
    run: Annotated[bool, typer.Option("--run", help="Trigger the spec's DAG, and follow it step by step.")] = False,
    leave: Annotated[bool, typer.Option("--exit", help="Stop everything once the run has ended.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return once all is up; 'modelrail down' stops it.")] = False,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    why: Why = "",
) -> None:
    """Start Airflow and MLflow on this machine (on loopback, with a login), until Ctrl-C."""
    from pipeline.standalone.hosting import host

    if run and spec is None:
        raise InputError("--run: found no spec; expected one: modelrail up SPEC --run")
    request = _request(spec, environment, data_commit, as_of, force=force, reason=why) if spec else None
    raise typer.Exit(host(request if run else None, stay=not (leave or detach), stop=not detach))


@app.command(epilog="Example: modelrail down")
def down() -> None:
    """Stop everything that was started here: Airflow, MLflow and the deployed models."""
    from pipeline.deployment.local import stop_all
    from pipeline.home import home
    from pipeline.standalone import down as stop_services

    models = stop_all(home())
    stopped = stop_services(home())
    typer.echo(f"stopped {stopped} processes of Airflow and MLflow, and {len(models)} deployments")


@app.command(epilog="Example: modelrail status --json")
def status(as_json: Json = False) -> None:
    """Say what runs on this machine and which release of each model is live."""
    from dataclasses import asdict

    from pipeline.deployment.local import deployments
    from pipeline.home import home
    from pipeline.showing import show_status
    from pipeline.standalone import find_dead, running

    services, live = running(home()), deployments(home())
    if as_json:
        addresses = {"airflow": services.airflow_url, "mlflow": services.mlflow_url} if services else None
        _print_json({"services": addresses, "deployments": [asdict(each) for each in live]})
    else:
        show_status(services, find_dead(services) if services else (), live)


@app.command(epilog="Example: modelrail example flights ~/flights")
def example(
    name: Annotated[str, typer.Argument(help="flights: 336,776 flights from New York in 2013.")],
    folder: Annotated[Path, typer.Argument(help="Folder of the Git repository to make.")],
) -> None:
    """Make a data repository from real data, without a network."""
    from pipeline.examples import EXAMPLES

    if name not in EXAMPLES:
        raise InputError(f"found the example '{name}'; expected one of {', '.join(EXAMPLES)}")
    typer.echo(f"{EXAMPLES[name](folder)}: ready")


@app.command(epilog="Example: modelrail doctor")
def doctor(as_json: Json = False) -> None:
    """Say what is missing on this machine, what for, and how to get it."""
    from pipeline.doctor import examine
    from pipeline.showing import show_findings

    findings = examine()
    if as_json:
        _print_json([vars(each) for each in findings])
    else:
        show_findings(findings)
    raise typer.Exit(1 if any(each.ok is False for each in findings) else 0)


def main() -> None:
    """Run the command line; errors of the user or of the work are told without a traceback."""
    try:
        app()
    except ModelrailError as error:
        typer.echo(f"modelrail: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that may not be written
        typer.echo(f"modelrail: {error}; expected a place that can be read and written (MODELRAIL_HOME)", err=True)
        sys.exit(ModelrailError.exit_code)


def _request(
    spec: Path,
    environment: str | None,
    data_commit: str | None,
    as_of: str | None,
    *,
    force: bool,
    reason: str = "",
) -> RunRequest:
    from pipeline.job import RunRequest

    return RunRequest(str(_spec(spec)), environment, data_commit, as_of, force, reason)


def _spec(path: Path) -> Path:
    """Accept a model's name for its file in ``models/``."""
    named = Path("models") / f"{path}.yaml"
    return named if not path.exists() and not path.suffix and named.exists() else path


def _release(reference: str) -> tuple[Any, Any, Path]:
    from pipeline.home import home, store_address
    from pipeline.release import find_release
    from pipeline.repository import open_repository
    from pipeline.store import open_store

    state = home()
    return find_release(open_repository(Path.cwd()), reference), open_store(store_address(state), state), state


def _example(bundle: Path) -> Any:
    return json.loads((bundle / "signature.json").read_bytes())["example"]


def _parse_records(text: str) -> Any:
    try:
        records = json.loads(text)
    except ValueError as error:
        raise InputError(f'--record: found no JSON ({error}); expected a record such as {{"x": 0.5}}') from error
    if not isinstance(records, dict | list):
        raise InputError(f'--record: found {text}; expected a record such as {{"x": 0.5}}, or a list of them')
    return records


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, default=str, ensure_ascii=False))


if __name__ == "__main__":
    main()
