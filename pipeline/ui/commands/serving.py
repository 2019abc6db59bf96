"""Commands on a served model: start a server, ask it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import InputError
from pipeline.ui.commands.options import Environment, Json, Reference, print_json

if TYPE_CHECKING:
    from pipeline.delivery.platforms.local.deployments import Deployment

app = typer.Typer()


@app.command(epilog="Example: modelrail serve flight-delay@v1.0.0 --port 8080")
def serve(
    model: Reference,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Server processes.")] = 1,
    canary: Annotated[
        str | None, typer.Option(help="MODEL@VERSION=SHARE that answers a share of the requests.")
    ] = None,
    shadow: Annotated[str | None, typer.Option(help="MODEL@VERSION that is asked the same and compared.")] = None,
) -> None:
    """Serve a release in the foreground, until Ctrl-C."""
    from pipeline.delivery.bundles import bundle_of
    from pipeline.serving.lineup import LineupEntry
    from pipeline.serving.process.server import serve as serve_bundle

    places = [LineupEntry(bundle_of(*_release(model)))]
    if canary:
        name, _, share = canary.partition("=")
        places.append(LineupEntry(bundle_of(*_release(name)), "canary", _parse_share(share)))
    if shadow:
        places.append(LineupEntry(bundle_of(*_release(shadow)), "shadow"))
    serve_bundle(tuple(places), host, port, workers)


@app.command(epilog="""Example: modelrail predict LinearRegression --record '{"x": 0.5}'""")
def predict(
    model: Reference,
    environment: Environment = None,
    record: Annotated[str | None, typer.Option(help="One record or a list, as JSON; by default the example.")] = None,
    probabilities: Annotated[bool, typer.Option("--probabilities", help="Ask for class probabilities too.")] = False,
    batch: Annotated[
        Path | None,
        typer.Option(help="A CSV, JSON Lines or Parquet file, whose rows are scored here."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --batch: the file for the predictions.")] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="With --batch: columns to keep, divided by commas, or '*'; by default the data's key."),
    ] = None,
    deployed: Annotated[
        bool, typer.Option("--deployed", help="With --batch: ask the running deployment instead of scoring here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask the live model for a prediction, or score a file with a release."""
    from pipeline.serving.client import predict as ask

    if batch or out or keep or deployed:
        if batch is None or out is None:
            raise InputError("predict: found one of --batch, --out, --keep and --deployed; expected --batch and --out")
        _predict_file(model, environment, batch, out, keep, deployed=deployed, as_json=as_json)
        return
    deployment = _live(model, environment)
    records = _parse_records(record) if record else _signature(Path(deployment.bundle))["example"]
    answer = ask(deployment.address, records, probabilities=probabilities)
    if as_json:
        print_json(vars(answer))
    else:
        typer.echo(f"{answer.model} v{answer.version.removeprefix('v')}: {', '.join(map(str, answer.outputs))}")
        classes = answer.classes or _signature(Path(deployment.bundle))["classes"] if answer.probabilities else ()
        for shares in answer.probabilities or ():
            typer.echo("  " + "  ".join(f"{name} {share:.4f}" for name, share in zip(classes, shares, strict=True)))


def _live(model: str, environment: str | None) -> Deployment:
    from pipeline.delivery.platforms.local.deployments import deployments, live
    from pipeline.delivery.platforms.local.state import name_of
    from pipeline.home import home

    deployment = live(name_of(model, environment), home())
    if deployment is None:
        raise InputError(_explain_absence(model, environment, [each.model for each in deployments(home())]))
    return deployment


def _explain_absence(model: str, environment: str | None, live: Sequence[str]) -> str:
    where = f" in '{environment}'" if environment else ""
    others = [name.partition("#")[2] for name in live if name.startswith(f"{model}#")]
    mend = f"--environment {' or '.join(others)}" if others else "one: 'modelrail run' makes it live"
    return f"found no live deployment of '{model}'{where}; expected {mend}"


def _predict_file(
    model: str,
    environment: str | None,
    batch: Path,
    out: Path,
    keep: Sequence[str] | None,
    *,
    deployed: bool,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from pipeline.operations.batches.files import rejected_beside
    from pipeline.operations.batches.predicting import predict_file
    from pipeline.operations.batches.scoring import find_deployed, open_scorer
    from pipeline.storage.git.repository import open_repository
    from pipeline.ui.terminal.batches import show_progress, show_scored

    repository = open_repository(Path.cwd())
    if deployed:
        scorer = find_deployed(repository, _live(model, environment))
    else:
        scorer = open_scorer(repository, model, environment)
    with show_progress() as tell:
        found = predict_file(scorer.signature, scorer.predict, scorer.data, batch, out, keep, tell)
    if as_json:
        rejected = rejected_beside(out) if found.rejected else None
        print_json(asdict(found) | {"release": scorer.release.tag, "why": scorer.why, "rejected_to": rejected})
    else:
        show_scored(found, f"{scorer.release.tag}, {scorer.why}", out)


def _parse_share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise InputError(f"--canary: found the share '{text}'; expected MODEL@VERSION=SHARE, such as m@v1.1.0=0.1")
    return share


def _signature(bundle: Path) -> Any:
    return json.loads((bundle / "signature.json").read_bytes())


def _parse_records(text: str) -> Any:
    try:
        records = json.loads(text)
    except ValueError as error:
        raise InputError(f'--record: found no JSON ({error}); expected a record such as {{"x": 0.5}}') from error
    if not isinstance(records, dict | list):
        raise InputError(f'--record: found {text}; expected a record such as {{"x": 0.5}}, or a list of them')
    return records


def _release(reference: str) -> tuple[Any, Any, Path]:
    from pipeline.delivery.releases import find_release
    from pipeline.home import home, store_address
    from pipeline.storage.artifacts import open_store
    from pipeline.storage.git.repository import open_repository

    state = home()
    return find_release(open_repository(Path.cwd()), reference), open_store(store_address(state), state), state
