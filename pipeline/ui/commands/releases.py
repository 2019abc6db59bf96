"""Commands on releases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.ui.commands.options import Json, Model, Reference, Versioned, print_json, split_reference

if TYPE_CHECKING:
    from pipeline.delivery.deploying import DeploymentResult

app = typer.Typer()

Stage = Annotated[
    str | None,
    typer.Option("--environment", "-e", help="The environment; by default the only one that the model is in."),
]
_NEWEST = 20
Reason = Annotated[str, typer.Option("--why", help="Reason, kept in Git with the change.")]


@app.command(epilog="Example: modelrail releases flight-delay")
def releases(
    model: Model,
    every: Annotated[bool, typer.Option("--all", help="All of them, not only the newest 20.")] = False,
    as_json: Json = False,
) -> None:
    """List a model's newest releases with their evidence, and where they should be live and are."""
    from sys import maxsize

    from pipeline.delivery.applied_settings import failures
    from pipeline.delivery.environments import statuses_here
    from pipeline.delivery.releases import newest_releases
    from pipeline.delivery.stages import current_stages, find_unreadable
    from pipeline.home import home, store_address
    from pipeline.spec.loading.declared_environments import find_declared
    from pipeline.spec.loading.names import find_spec_of
    from pipeline.storage.artifacts import open_store
    from pipeline.storage.git.repository import open_repository
    from pipeline.ui.terminal.machine import show_failures
    from pipeline.ui.terminal.releases import describe_releases, show_releases

    repository = open_repository(Path.cwd())
    history, count = newest_releases(repository, model, maxsize if every else _NEWEST)
    declared = find_declared(repository.root / "models" / "any.yaml", model)
    places = statuses_here(model, current_stages(repository, model), home(), declared)
    if not (history or places):
        find_spec_of(model, repository.root)
    failed = failures(open_store(store_address(home()), home()), model)
    if as_json:
        print_json({**describe_releases(model, history, places, count), "failed": [vars(each) for each in failed]})
    else:
        show_releases(model, history, places, count)
        show_failures(failed)
    for each in find_unreadable(repository, model):
        typer.echo(f"passed over: {each}", err=True)


@app.command(epilog="Example: modelrail promote flight-delay@v1.2.0 --environment prod --why 'two weeks well in dev'")
def promote(
    release: Versioned,
    why: Reason,
    environment: Stage = None,
    as_json: Json = False,
) -> None:
    """Make a release live in an environment, and record that in Git."""
    from pipeline.delivery import promotion

    tell_change(promotion.promote(*split_reference(release), environment, why=why), as_json=as_json)


@app.command(epilog="Example: modelrail rollback flight-delay --why 'too many false alarms'")
def rollback(
    release: Reference,
    why: Reason,
    environment: Stage = None,
    as_json: Json = False,
) -> None:
    """Make an earlier release live again, by default the one before; runs leave what was rolled back from alone."""
    from pipeline.delivery import promotion

    model, _, to = release.partition("@")
    tell_change(promotion.rollback(model, to or None, environment, why=why), as_json=as_json)


def tell_change(change: DeploymentResult, *, as_json: bool) -> None:
    """Print what a change of what is live came to."""
    from dataclasses import asdict

    from pipeline.ui.terminal.releases import show_change

    if as_json:
        stage = asdict(change.stage) | {"tag": change.stage.tag, "version": str(change.stage.version)}
        print_json({"stage": stage, "live": asdict(change.live), "seconds": change.seconds})
    else:
        show_change(change)
