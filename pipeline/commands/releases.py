"""Commands on releases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import Json, print_json

app = typer.Typer()


@app.command(epilog="Example: modelrail releases flight-delay")
def releases(model: Annotated[str, typer.Argument(help="Name of the model.")], as_json: Json = False) -> None:
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
