"""Releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from pipeline.ui.terminal.console import console, print_columns, print_whole

if TYPE_CHECKING:
    from pipeline.delivery.deploying import DeploymentResult
    from pipeline.delivery.environments import EnvironmentStatus
    from pipeline.delivery.releases import Release


_HERE: Mapping[str, str] = {
    "live": "[green]live at {address}[/]",
    "differs": "[red]{answers} answers[/] at {address}",
    "down": "[red]nothing answers[/]",
    "unknown": "[dim]not on this machine ('modelrail status' asks its platform)[/]",
    "waiting": "[yellow]waiting for its first release[/]",
}


def show_releases(model: str, history: Sequence[Release], places: Sequence[EnvironmentStatus], count: int) -> None:
    """Print the releases, newest first, then each environment: what Git says, and what this machine says.

    Parameters
    ----------
    count : int
        Of all releases, of which `history` may be the newest.
    """
    if not history:
        console.print(f"{model}: no release yet ('modelrail run' makes the first)", markup=False)
    else:
        _releases(history, places)
    if len(history) < count:
        console.print(f"the newest {len(history)} of {count:,} releases; --all shows all")
    if places:
        console.print()
        print_whole(_places(places))


def _releases(history: Sequence[Release], places: Sequence[EnvironmentStatus]) -> None:
    heads = ("release", "date", "data", "spec", "should be live in", "metrics")
    print_columns(heads, [_row(each, places) for each in reversed(history)])


def _row(release: Release, places: Sequence[EnvironmentStatus]) -> tuple[str, ...]:
    evidence = release.evidence
    metrics = (f"{name} {each['value']:.4f}" for name, each in evidence.metrics.items() if each["value"] is not None)
    return (
        release.tag,
        _moment(release.date),
        evidence.data_commit[:10],
        evidence.spec_commit[:10],
        ", ".join(_environments(release, places)),
        ", ".join(metrics),
    )


def _places(places: Sequence[EnvironmentStatus]) -> Table:
    table = _table("environment", "should be live", "since", "by", "on this machine")
    for place in places:
        by = f"{place.stage.action}, {place.stage.who}" if place.stage else ""
        table.add_row(
            place.environment,
            _wanted(place),
            _moment(place.since),
            escape(by),
            _HERE[place.state].format(address=place.address, answers=place.answers),
        )
    return table


def _wanted(place: EnvironmentStatus) -> str:
    if place.stage:
        return place.version
    return "its first release" if place.state == "waiting" else "no stage in Git"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in names:
        table.add_column(name, no_wrap=True)
    return table


def _moment(date: datetime | None) -> str:
    return f"{date:%Y-%m-%d %H:%M}" if date else ""


def _environments(release: Release, places: Sequence[EnvironmentStatus]) -> list[str]:
    """Name the environments where Git says that a release should be live."""
    return [place.environment for place in places if place.stage and place.stage.version == release.version]


def describe_releases(
    model: str, history: Sequence[Release], places: Sequence[EnvironmentStatus], count: int
) -> Mapping[str, Any]:
    """Say for a program what `show_releases` says to a person."""
    releases = [
        vars(each)  # and not asdict, which copies each number of the evidence: seconds at 1,000 releases
        | {
            "evidence": vars(each.evidence),
            "tag": each.tag,
            "version": str(each.version),
            "environments": _environments(each, places),
        }
        for each in reversed(history)
    ]
    return {"model": model, "count": count, "environments": [_describe(each) for each in places], "releases": releases}


def _describe(place: EnvironmentStatus) -> Mapping[str, Any]:
    stage = place.stage
    said = {name: getattr(stage, name, None) for name in ("tag", "release", "action", "who", "why", "date")}
    return {
        "environment": place.environment,
        "version": str(stage.version) if stage else None,
        "stage": said.pop("tag"),
        **said,
        "state": place.state,
        "answers": place.answers.removeprefix("v") or None,
        "address": place.address or None,
    }


def show_change(change: DeploymentResult) -> None:
    """Print what a promotion or a rollback came to."""
    stage, live = change.stage, change.live
    console.print(
        f"[green]✓[/] {stage.release} is live in {stage.environment} at {live.address} [dim]({change.seconds:.1f} s)[/]"
    )
    console.print(f"  {stage.tag}: {stage.action} by {stage.who}, {stage.why}", markup=False)
    if live.note:
        console.print(f"  {live.note}", markup=False)
