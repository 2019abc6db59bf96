"""Commands on where a release comes from and what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import InputError, ModelrailError
from pipeline.ui.commands.options import Json, Versioned, find_reference, print_json, read_date, split_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pipeline.operations.provenance.environments import EnvironmentDifference
    from pipeline.storage.git.repository import Repository
    from pipeline.ui.terminal.sections import Section

app = typer.Typer()

Markdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request's comment.")]


@app.command(epilog="Example: modelrail diff flight-delay@v1.0.0 flight-delay@v1.1.0")
def diff(
    before: Annotated[
        str | None,
        typer.Argument(
            help="A model, of environments by default all; its version is by default the one before the other.",
            metavar="MODEL[@VERSION]",
        ),
    ] = None,
    after: Annotated[
        str | None, typer.Argument(help="Another version of it; by default the newest.", metavar="MODEL@VERSION")
    ] = None,
    environment: Annotated[
        tuple[str, str] | None, typer.Option("--environment", "-e", help="Compare two environments instead.")
    ] = None,
    markdown: Markdown = False,
    as_json: Json = False,
) -> None:
    """Say what differs between two releases (spec, data, metrics, importances, code), or between two environments."""
    from pipeline.storage.git.repository import open_repository

    repository = open_repository(Path.cwd())
    name, _, version = find_reference(before).partition("@") if before else ("", "", "")
    if environment is not None:
        if version or after:
            raise InputError(f"diff: found '{after or before}' beside --environment; expected at most a model's name")
        _diff_environments(repository, name or None, environment, markdown=markdown, as_json=as_json)
        return
    if not name:
        raise InputError("diff: found no model; expected one: modelrail diff MODEL@v1.0.0 MODEL@v1.1.0")
    from pipeline.operations.provenance.differences import compare_releases, find_pair
    from pipeline.ui.terminal.differences import release_sections, release_title

    found = compare_releases(repository, *find_pair(repository, name, version or None, _version_of(name, after)))
    if as_json:
        print_json(found.to_json())
    else:
        _tell(release_title(found), release_sections(found), markdown=markdown)


def _version_of(model: str, reference: str | None) -> str | None:
    """Return the version that a further reference names; it must be one of the same model."""
    if reference is None:
        return None
    other, version = split_reference(find_reference(reference))
    if other != model:
        raise InputError(f"diff: found releases of {model} and of {other}; expected two of one model")
    return version


def _diff_environments(
    repository: Repository, model: str | None, names: tuple[str, str], *, markdown: bool, as_json: bool
) -> None:
    from pipeline.operations.provenance.environments import compare_environments
    from pipeline.spec.loading.names import names_in, require_specs
    from pipeline.ui.terminal.differences import environment_sections, environment_title

    models = [model] if model else sorted(names_in(require_specs(repository.root)).values())
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
    from pipeline.ui.terminal.sections import markdown_sections, print_sections

    if markdown:
        typer.echo(markdown_sections(title, sections))
    else:
        print_sections(title, sections)


@app.command(epilog="Example: modelrail trace flight-delay@v1.0.0")
def trace(
    name: Annotated[
        str,
        typer.Argument(
            help="A release, a stage, a commit of specs, data or code, an MLflow run, an artifact's key or a"
            " prediction's id; digits may be cut off.",
            metavar="X",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Follow a release, a commit, a run, an artifact or a prediction along the whole chain, both ways."""
    from pipeline.operations.provenance.sources import open_sources
    from pipeline.operations.provenance.tracing import trace as follow
    from pipeline.ui.terminal.traces import show_trace

    found = follow(name, open_sources(Path.cwd()))
    if as_json:
        print_json(found.to_json())
    else:
        show_trace(found)


@app.command(epilog="Example: modelrail rebuild flight-delay@v1.0.0")
def rebuild(
    reference: Versioned,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="New folder to rebuild in, and leave there; else a temporary one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute a release again from Git alone, and prove it: the same keys, the same model byte by byte."""
    from dataclasses import asdict
    from tempfile import TemporaryDirectory

    from pipeline.delivery.releases import find_release
    from pipeline.operations.provenance.rebuilding import rebuild as compute_again
    from pipeline.storage.git.repository import open_repository
    from pipeline.ui.terminal.rebuilds import show_rebuild

    if keep is not None and keep.exists():
        raise InputError(f"--keep: found {keep}; expected a folder that is not there yet")
    repository = open_repository(Path.cwd())
    release = find_release(repository, "@".join(split_reference(reference)))
    with TemporaryDirectory(prefix="modelrail-") as place:
        folder = keep.resolve() if keep else Path(place).resolve()
        done = compute_again(repository, release, folder, lambda said: typer.echo(f"… {said}", err=True))
    if as_json:
        proofs = [asdict(each) | {"same_key": each.same_key} for each in done.proofs]
        print_json(asdict(done) | {"proofs": proofs, "proven": done.proven})
    else:
        show_rebuild(done)
    raise typer.Exit(0 if done.proven else 1)


@app.command(epilog="Example: modelrail audit --since 2026-11-01 --json")
def audit(
    since: Annotated[str | None, typer.Option("--since", help="Date; only what happened then or later.")] = None,
    as_json: Json = False,
) -> None:
    """Say who changed, approved, released, promoted and rolled back what; what is unsigned or unreviewed is flagged."""
    from pipeline.operations.provenance.auditing import audit as list_events
    from pipeline.runs.committed_specs import explain_shallow
    from pipeline.storage.git.repository import open_repository
    from pipeline.ui.terminal.audits import show_audit

    limit = read_date(since)
    told, notes = _ask_airflow(limit)
    repository = open_repository(Path.cwd())
    events = list_events(repository, limit, told)
    if explain_shallow(repository):
        notes.append("this clone is shallow, so older commits are not part of this: 'git fetch --unshallow' gets them")
    if as_json:
        print_json({"events": [each.to_json() for each in events], "notes": notes})
    else:
        show_audit(events, notes)


def _ask_airflow(since: datetime | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Read Airflow's log, where one runs here; else say that it is not part of the audit."""
    from pipeline.operations.backfill import find_login
    from pipeline.operations.provenance.airflow_log import BY_ITSELF
    from pipeline.orchestration.services.rest_client import Airflow

    login = find_login()
    if login is None:
        return [], ["Airflow does not run here, so its log is not part of this ('modelrail up')"]
    with Airflow(*login) as airflow:
        try:
            return airflow.list_events(since, BY_ITSELF), []
        except ModelrailError as error:
            return [], [f"Airflow's log could not be read: {error}"]
