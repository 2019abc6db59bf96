"""Commands for CI systems and Git hosts: pipelines, and what a pull request is told."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import InputError
from pipeline.ui.commands.models import named_at
from pipeline.ui.commands.options import Environment, Json, print_json, request

if TYPE_CHECKING:
    from pipeline.integrations.pipelines import Target, Wishes

app = typer.Typer()
ci = typer.Typer(help="Pipelines for CI systems: write them, and say when they are out of date.", no_args_is_help=True)
app.add_typer(ci, name="ci")


class CiSystem(StrEnum):
    """CI systems that pipelines are written for."""

    github = "github"
    gitlab = "gitlab"
    gitea = "gitea"
    azure = "azure"
    jenkins = "jenkins"
    circleci = "circleci"
    tekton = "tekton"


class Host(StrEnum):
    """Kinds of Git hosts; Forgejo is a Gitea."""

    github = "github"
    gitlab = "gitlab"
    gitea = "gitea"
    bitbucket = "bitbucket"


@app.command(epilog="Example: modelrail review --pull-request 12 --environment prod")
def review(
    pull_request: Annotated[int, typer.Option(min=1, help="Its number; at GitLab, the merge request's.")],
    spec: Annotated[
        Path | None, typer.Argument(help="The spec; by default all in models/, one after the other.", metavar="[SPEC]")
    ] = None,
    environment: Environment = None,
    commit: Annotated[str, typer.Option(help="Commit or branch that is planned; nothing of it is run.")] = "HEAD",
    host: Annotated[
        Host | None,
        typer.Option(help="What the Git host is; by default as the CI system or the origin's address says."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File that gets the whole text, however long.")] = None,
    as_json: Json = False,
) -> None:
    """Tell a pull request what it would come to: one comment that is kept up to date, and a status of its commit."""
    from pipeline.home import refuse_links
    from pipeline.integrations.git_hosts import find_address, find_token
    from pipeline.integrations.pull_requests import Status, publish
    from pipeline.operations.review import review_all, specs_of
    from pipeline.storage.git.repository import open_repository
    from pipeline.ui.terminal.reviews import fit, markdown_review, marker_of, verdict

    repository = open_repository(Path.cwd())
    address = find_address(os.environ, repository.origin(), host)
    token = find_token(address.host, os.environ)
    paths = [named_at(spec, commit)] if spec else specs_of(Path("models"), commit)
    asked = [request(each, environment, None, None, force=False) for each in paths]
    found, failed = review_all(asked, commit)
    text = markdown_review(found, failed, environment, repository.resolve(commit))
    if out:
        refuse_links(out)
        out.write_text(text, "utf-8")
    marker = marker_of(environment)
    context = f"modelrail/{environment or 'review'}"[:40]
    status = Status(context, not failed, verdict(found, failed))
    short = fit(text, address.host.longest - len(marker), out)
    posted = publish(address, token, pull_request, marker, short, status)
    if as_json:
        print_json({**vars(posted), "context": context, "description": status.description, "well": status.well})
    else:
        typer.echo(f"pull request {pull_request}: comment {posted.action}")
        typer.echo(f"{context} of {posted.commit[:12]}: {status.description}")
    for _, error in failed:
        typer.echo(f"modelrail: {error}", err=True)
    if failed:
        raise typer.Exit(failed[0][1].exit_code)


@ci.command(epilog="Example: modelrail ci init --for github --to staging=main --to production=main")
def init(
    system: Annotated[CiSystem, typer.Option("--for", help="The CI system.")],
    to: Annotated[
        list[str] | None,
        typer.Option(help="Environment and the branch that is deployed there, in order.", metavar="ENVIRONMENT=BRANCH"),
    ] = None,
    host: Annotated[
        Host | None, typer.Option(help="The Git host's kind, where the CI system works for several.")
    ] = None,
    install: Annotated[
        str | None,
        typer.Option(help="Line of shell that makes modelrail available; {extras} becomes what the specs need."),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Image that jobs run in, by digest: NAME@sha256:...")] = None,
    runner: Annotated[str | None, typer.Option(help="Label, tag or class of the runners.")] = None,
    secret: Annotated[list[str] | None, typer.Option(help="Secret that the jobs with rights get.")] = None,
    variable: Annotated[
        list[str] | None, typer.Option(help="Variable for all jobs, such as MODELRAIL_STORE.", metavar="NAME=VALUE")
    ] = None,
    minutes: Annotated[int, typer.Option(min=1, help="That a run may take.")] = 120,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what somebody has changed between the marks.")
    ] = False,
) -> None:
    """Write a pipeline for a CI system, or write it anew; what you have around it stays."""
    from pipeline.home import refuse_links
    from pipeline.integrations.pipelines import Wishes

    wishes = Wishes(
        system, tuple(to or ()), host, install, image, runner, tuple(secret or ()), tuple(variable or ()), minutes
    )
    root = _root()
    found, notes = _held_against(wishes, root)
    for each in found:
        refuse_links(root / each.file.path)
    refused = [each for each in found if each.state == "foreign" or (each.state == "edited" and not overwrite)]
    if refused:
        typer.echo("".join(each.diff for each in refused), nl=False)
        raise InputError("\n".join(map(_refusal, refused)))
    for each in found:
        _write(each, root)
    for note in notes:
        typer.echo(f"note: {note}")


@ci.command("check", epilog="Example: modelrail ci check")
def check_pipelines() -> None:
    """Say whether the pipelines are those that today's specs and this Modelrail lead to; end with 1 if not."""
    from pipeline.integrations.pipelines import read_wishes, written

    root, stale = _root(), False
    pipelines = written(root)
    if not pipelines:
        raise InputError("found no pipeline of Modelrail's; expected one (modelrail ci init --for SYSTEM)")
    for region in pipelines.values():
        wishes = read_wishes(region.options)
        found, notes = _held_against(wishes, root)
        for each in found:
            stale |= each.state != "current"
            typer.echo(f"{each.file.path}: {_STATES[each.state]}")
            typer.echo(each.diff, nl=False)
        for note in notes:
            typer.echo(f"note: {note}")
        if any(each.state != "current" for each in found):
            typer.echo(f"modelrail ci init {wishes.options()}")
    raise typer.Exit(1 if stale else 0)


_STATES = {
    "current": "up to date",
    "older": "older than the specs, or than this version of Modelrail",
    "edited": "changed between the marks",
    "missing": "not there",
    "foreign": "there, without Modelrail's marks",
}


def _refusal(target: Target) -> str:
    path, entry = target.file.path, target.file.entry
    if target.state == "edited":
        return (
            f"{path}: found changes between the marks; expected it as it was written: move them out of the marks, or"
            " say --overwrite"
        )
    if entry:
        return f"{path}: found a file that does not name {entry}; expected it to include that file, as shown above"
    return f"{path}: found a file without Modelrail's marks; expected none: move it, then merge by hand"


def _write(target: Target, root: Path) -> None:
    place = root / target.file.path
    if target.state == "current":
        typer.echo(f"{target.file.path}: as it was")
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(target.content.encode("utf-8", "surrogateescape"))
    typer.echo(f"{target.file.path}: written")


def _root() -> Path:
    from pipeline.storage.git.repository import open_repository

    return open_repository(Path.cwd()).root


def _held_against(wishes: Wishes, root: Path) -> tuple[list[Target], list[str]]:
    """Hold the files against what the specs lead to, and say what the pipeline will miss there."""
    from pipeline.integrations.pipelines import targets
    from pipeline.spec.catalogue.tasks import extras_of
    from pipeline.spec.loading.loading import load_spec
    from pipeline.spec.loading.names import require_specs

    notes: list[str] = []
    extras: set[str] = set()
    for path in require_specs(root):
        extras |= {extra for _, _, extra in extras_of(load_spec(path).spec)}
        for environment in (each.partition("=")[0] for each in wishes.to):
            spec = load_spec(path, environment).spec
            extras |= {extra for _, _, extra in extras_of(spec)}
            if not spec.deploy.push_tags:
                notes.append(
                    f"{path.name}, {environment}: releases stay in the job's clone; 'deploy: {{push_tags: true}}' in"
                    f" environments/{environment}.yaml pushes them"
                )
    if wishes.install is None and wishes.image is None:
        notes.append("jobs expect the command modelrail on the runner; --install or --image brings it there")
    return targets(wishes, sorted(extras), root), notes
