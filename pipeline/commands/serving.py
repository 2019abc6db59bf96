"""Commands on a served model: start a server, ask it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.commands.options import Environment, Json, print_json
from pipeline.errors import InputError

app = typer.Typer()


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
    environment: Environment = None,
    record: Annotated[str | None, typer.Option(help="One record or a list, as JSON; by default the example.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Ask for class probabilities too.")] = False,
    as_json: Json = False,
) -> None:
    """Ask the live model for a prediction."""
    from pipeline.client import predict as ask
    from pipeline.deployment.local import deployments, live
    from pipeline.deployment.state import name_of
    from pipeline.home import home

    deployment = live(name_of(model, environment), home())
    if deployment is None:
        raise InputError(_explain_absence(model, environment, [each.model for each in deployments(home())]))
    records = _parse_records(record) if record else _example(Path(deployment.bundle))
    answer = ask(deployment.address, records, probabilities=probabilities)
    if as_json:
        print_json(vars(answer))
    else:
        typer.echo(f"{answer.model} v{answer.version.removeprefix('v')}: {', '.join(map(str, answer.outputs))}")


def _explain_absence(model: str, environment: str | None, live: Sequence[str]) -> str:
    where = f" in '{environment}'" if environment else ""
    others = [name.partition("#")[2] for name in live if name.startswith(f"{model}#")]
    mend = f"--environment {' or '.join(others)}" if others else "one: 'modelrail run' makes it live"
    return f"found no live deployment of '{model}'{where}; expected {mend}"


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


def _release(reference: str) -> tuple[Any, Any, Path]:
    from pipeline.home import home, store_address
    from pipeline.release import find_release
    from pipeline.repository import open_repository
    from pipeline.store import open_store

    state = home()
    return find_release(open_repository(Path.cwd()), reference), open_store(store_address(state), state), state
