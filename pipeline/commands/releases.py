"""Commands on releases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import Json, print_json

if TYPE_CHECKING:
    from pipeline.promotion import Change

app = typer.Typer()

Model = Annotated[str, typer.Argument(help="Name of the model.")]
Stage = Annotated[
    str | None,
    typer.Option("--environment", "-e", help="The environment; by default the only one that the model is in."),
]
Reason = Annotated[str, typer.Option("--why", help="Reason, kept in Git with the change.")]


@app.command(epilog="Example: modelrail releases flight-delay")
def releases(model: Model, as_json: Json = False) -> None:
    """List a model's releases, newest first, with their evidence."""
    from dataclasses import asdict

    from pipeline.deployment.local import live
    from pipeline.home import home
    from pipeline.release import releases as list_releases
    from pipeline.repository import open_repository
    from pipeline.showing.releases import show_releases

    history = list_releases(open_repository(Path.cwd()), model)
    now = live(model, home())
    if as_json:
        print_json([asdict(each) | {"tag": each.tag, "version": str(each.version)} for each in reversed(history)])
    else:
        show_releases(model, history, now.version if now else None)


@app.command(epilog="Example: modelrail promote flight-delay v1.2.0 --environment prod --why 'two weeks well in dev'")
def promote(
    model: Model,
    version: Annotated[str, typer.Argument(help="A release's version, such as v1.2.0.")],
    why: Reason,
    environment: Stage = None,
    as_json: Json = False,
) -> None:
    """Make a release live in an environment, and record that in Git."""
    from pipeline import promotion

    _tell(promotion.promote(model, version, environment, why=why), as_json=as_json)


@app.command(epilog="Example: modelrail rollback flight-delay --why 'too many false alarms'")
def rollback(
    model: Model,
    why: Reason,
    to: Annotated[str | None, typer.Option(help="A version; by default the one that was live before.")] = None,
    environment: Stage = None,
    as_json: Json = False,
) -> None:
    """Make an earlier release live again, and record that in Git; runs leave what was rolled back from alone."""
    from pipeline import promotion

    _tell(promotion.rollback(model, to, environment, why=why), as_json=as_json)


def _tell(change: Change, *, as_json: bool) -> None:
    from dataclasses import asdict

    from pipeline.showing.releases import show_change

    if as_json:
        stage = asdict(change.stage) | {"tag": change.stage.tag, "version": str(change.stage.version)}
        print_json({"stage": stage, "live": asdict(change.live), "seconds": change.seconds})
    else:
        show_change(change)
