"""Commands that watch what is live."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.ui.commands.options import Environment, find_spec

if TYPE_CHECKING:
    from pipeline.monitoring.rendering import Watched

app = typer.Typer()
monitoring = typer.Typer(help="What other programs watch models with.", no_args_is_help=True)
app.add_typer(monitoring, name="monitoring")


class Program(StrEnum):
    """What is rendered for whom."""

    prometheus = "prometheus"
    alertmanager = "alertmanager"
    grafana = "grafana"
    servicemonitor = "servicemonitor"


@monitoring.command(epilog="Example: modelrail monitoring render --to prometheus --out monitoring/")
def render(
    to: Annotated[
        Program,
        typer.Option(help="Rules; routes of alerts; a dashboard; or the objects of the Prometheus operator."),
    ],
    model: Annotated[
        str | None,
        typer.Argument(help="The model's name, or its spec; by default all in models/.", metavar="[MODEL]"),
    ] = None,
    environment: Environment = None,
    webhook: Annotated[
        str | None, typer.Option(help="For alertmanager: the address that alerts are sent to, as WEBHOOK/SEVERITY.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write files into, for GitOps to sync.")] = None,
) -> None:
    """Print rules, routes, a dashboard or objects, by which other programs watch a model or all."""
    from pipeline.monitoring.rendering import RENDERERS, Asked, in_one

    files = list(RENDERERS[to](Asked(_watched(model, environment), webhook)))
    if out is None:
        typer.echo(in_one(files, to), nl=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in files:
        (out / name).write_text(text, "utf-8")
        typer.echo(str(out / name))


def _watched(model: str | None, environment: str | None) -> list[Watched]:
    from pipeline.monitoring.rendering import Watched
    from pipeline.spec.files import find_specs
    from pipeline.spec.loading.loading import load_spec

    paths = [_spec_of(model)] if model else find_specs()
    return [Watched(load_spec(each, environment).spec, environment) for each in paths]


def _spec_of(model: str) -> Path:
    from pipeline.spec.loading.names import find_spec_of

    path = find_spec(Path(model))
    return path if path.is_file() else find_spec_of(model, Path.cwd())
