"""Commands on releases."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import InputError
from pipeline.ui.commands.options import Json, Model, Reference, Versioned, print_json, split_reference
from pipeline.ui.commands.telling import tell_news_of

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

    try:
        tell_change(promotion.promote(*split_reference(release), environment, why=why), as_json=as_json)
    finally:
        tell_news_of(release.partition("@")[0], environment)


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
    try:
        tell_change(promotion.rollback(model, to or None, environment, why=why), as_json=as_json)
    finally:
        tell_news_of(model, environment)


def tell_change(change: DeploymentResult, *, as_json: bool) -> None:
    """Print what a change of what is live came to."""
    from dataclasses import asdict

    from pipeline.ui.terminal.releases import show_change

    if as_json:
        stage = asdict(change.stage) | {"tag": change.stage.tag, "version": str(change.stage.version)}
        print_json({"stage": stage, "live": asdict(change.live), "seconds": change.seconds})
    else:
        show_change(change)


@app.command(epilog="Example: modelrail replay flight-delay@v1.2.0 --since 7d")
def replay(
    candidate: Annotated[str, typer.Argument(help="The release that is tried.", metavar="MODEL@VERSION")],
    since: Annotated[str, typer.Option(help="Requests of this time: 12h, 7d, 2w.")] = "7d",
    against: Annotated[str | None, typer.Option(help="A version to compare it with; by default what is live.")] = None,
    captures: Annotated[
        str | None, typer.Option(help="Where captures are, if not where the model's servers keep them.")
    ] = None,
    environment: Stage = None,
    as_json: Json = False,
) -> None:
    """Ask a release what servers were asked, before it gets any request; end with 1 if it is worse, or may be."""
    import time

    from pipeline.delivery.promotion import find_slot
    from pipeline.delivery.releases import find_release
    from pipeline.home import store_address
    from pipeline.operations.replay import captures_of, replay
    from pipeline.storage.artifacts import open_store
    from pipeline.storage.git.repository import open_repository

    model, _, version = candidate.partition("@")
    first = time.time() - _seconds(since)
    if not version:
        raise InputError(f"replay: found '{candidate}'; expected MODEL@VERSION")
    slot = find_slot(open_repository(Path.cwd()), model, environment)
    current = against or slot.standing().current
    if current is None:
        raise InputError(f"{model}: found nothing live in {slot.environment}; expected a version (--against)")
    tried, baseline = (find_release(slot.repository, f"{model}@{each}") for each in (version, current))
    rows = captures_of(slot, captures).read(model, since=first)
    state = slot.target.state
    found = replay(slot, tried, baseline, rows, open_store(store_address(state), state))
    if as_json:
        print_json(found.to_json())
    else:
        typer.echo("\n".join(found.lines))
    if not found.passed:
        raise typer.Exit(1)


_UNITS_S = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text)
    if match is None:
        raise InputError(f"--since: found '{text}'; expected hours, days or weeks, such as 12h, 7d or 2w")
    return int(match[1]) * _UNITS_S[match[2]]
