"""Options that several commands share, and how a command prints."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import InputError

if TYPE_CHECKING:
    from datetime import datetime

    from pipeline.runs.request import RunRequest

SpecPath = Annotated[Path, typer.Argument(help="The spec: a YAML file, or a model's name in models/.", metavar="SPEC")]
Environment = Annotated[str | None, typer.Option("--environment", "-e", help="Overlay from environments/.")]
DataCommit = Annotated[str | None, typer.Option(help="Commit, branch or tag of the data; by default the newest.")]
AsOf = Annotated[str | None, typer.Option(help="Date; partitions whose period ends later are left out.")]
Force = Annotated[bool, typer.Option("--force", help="Compute everything anew.")]
Why = Annotated[str, typer.Option("--why", help="Reason, recorded with the run and the release.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def request(
    spec: Path,
    environment: str | None,
    data_commit: str | None,
    as_of: str | None,
    *,
    force: bool,
    reason: str = "",
) -> RunRequest:
    """Make a run's request of a command's options."""
    from pipeline.runs.request import RunRequest

    return RunRequest(str(find_spec(spec)), environment, data_commit, as_of, force, reason)


def find_spec(path: Path) -> Path:
    """Accept a model's name for its file in ``models/``, also where there is a folder of that name."""
    named = Path("models") / f"{path}.yaml"
    return named if not path.is_file() and not path.suffix and named.exists() else path


def find_model(name: str) -> str:
    """Accept a spec's file, or its name in ``models/``, for its model's name; a model of that very name comes first."""
    path = find_spec(Path(name))
    if not path.is_file():
        return name
    from pipeline.spec.files import find_specs
    from pipeline.spec.loading.names import names_in

    named = names_in([path]).get(path, name)
    return name if named == name or name in names_in(find_specs(path.parent)).values() else named


def find_reference(text: str) -> str:
    """Accept what `find_model` does, with or without ``@VERSION`` after it."""
    name, mark, version = (text, "", "") if Path(text).is_file() else text.partition("@")
    return f"{find_model(name)}{mark}{version}"


# Down here, since they need the functions above.
_REFERENCE = partial(
    typer.Argument, help="A model as in the other commands, and a release's version.", callback=find_reference
)
Reference = Annotated[str, _REFERENCE(metavar="MODEL[@VERSION]")]
Versioned = Annotated[str, _REFERENCE(metavar="MODEL@VERSION")]
Model = Annotated[
    str,
    typer.Argument(
        help="The model's name, or its spec: a YAML file, or that file's name in models/.",
        callback=find_model,
    ),
]


def split_reference(reference: str) -> tuple[str, str]:
    """Split ``MODEL@VERSION``; refuse what names no version."""
    model, _, version = reference.partition("@")
    if not version:
        raise InputError(f"found {reference!r} without a version; expected one, such as {model}@v1.0.0")
    return model, version


def print_json(value: Any) -> None:
    """Print a result for programs."""
    typer.echo(json.dumps(value, indent=1, default=str, ensure_ascii=False))


def read_date(text: str | None) -> datetime | None:
    """Read the option ``--since``; without a zone it is in UTC."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError as error:
        raise InputError(f"--since: found '{text}'; expected a date such as 2026-11-01") from error
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)
