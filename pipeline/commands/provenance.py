"""Commands on where a release comes from and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.commands.options import Json, find_model, print_json
from pipeline.errors import InputError, ModelrailError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.provenance.environments import EnvironmentDifference
    from pipeline.repository import Repository
    from pipeline.showing.sections import Section

app = typer.Typer()

Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request's comment.")]


@app.command(epilog="Example: modelrail diff flight-delay v1.0.0 v1.1.0")
def diff(
    model: Annotated[
        str | None, typer.Argument(help="The model's name, or its spec; of environments, by default all models.")
    ] = None,
    before: Annotated[str | None, typer.Argument(help="A version; by default the one before the other.")] = None,
    after: Annotated[str | None, typer.Argument(help="Another; by default the newest.")] = None,
    environment: Annotated[
        tuple[str, str] | None, typer.Option("--environment", "-e", help="Compare two environments instead.")
    ] = None,
    markdown: Markdown = False,
    as_json: Json = False,
) -> None:
    """Say what differs between two releases (spec, data, metrics, importances, code), or between two environments."""
    from pipeline.repository import open_repository

    repository = open_repository(Path.cwd())
    name = find_model(model) if model else None
    if environment is not None:
        if before is not None:
            raise InputError(f"diff: found '{before}' beside --environment; expected at most the name of a model")
        _diff_environments(repository, name, environment, markdown=markdown, as_json=as_json)
        return
    if name is None:
        raise InputError("diff: found no model; expected one: modelrail diff MODEL v1.0.0 v1.1.0")
    from pipeline.provenance.differences import compare_releases, find_pair
    from pipeline.showing.differences import release_sections, release_title

    found = compare_releases(repository, *find_pair(repository, name, before, after))
    if as_json:
        print_json(found.to_json())
    else:
        _tell(release_title(found), release_sections(found), markdown=markdown)


def _diff_environments(
    repository: Repository, model: str | None, names: tuple[str, str], *, markdown: bool, as_json: bool
) -> None:
    from pipeline.provenance.environments import compare_environments
    from pipeline.showing.differences import environment_sections, environment_title
    from pipeline.spec.files import find_specs
    from pipeline.spec.loading import names_in

    models = [model] if model else sorted(names_in(find_specs(repository.root / "models")).values())
    found, failures = _each(models, lambda name: compare_environments(repository, name, *names))
    if as_json:
        print_json([each.to_json() for each in found] if model is None else found[0].to_json() if found else None)
    else:
        for each in found:
            _tell(environment_title(each), environment_sections(each), markdown=markdown)
    for failure in failures:
        typer.echo(f"modelrail: {failure}", err=True)
    raise typer.Exit(failures[0].exit_code if failures else 0)


def _each(
    models: Sequence[str], compare: Callable[[str], EnvironmentDifference]
) -> tuple[list[EnvironmentDifference], list[ModelrailError]]:
    """Compare every model; one broken spec does not hide the others."""
    found, failures = [], []
    for model in models:
        try:
            found.append(compare(model))
        except ModelrailError as error:
            failures.append(error)
    return found, failures


def _tell(title: str, sections: Sequence[Section], *, markdown: bool) -> None:
    from pipeline.showing.sections import markdown_sections, print_sections

    if markdown:
        typer.echo(markdown_sections(title, sections))
    else:
        print_sections(title, sections)
