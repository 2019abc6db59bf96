"""Commands on a spec: check it, say what would run, run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.errors import InputError, ModelrailError
from pipeline.ui.commands.options import (
    AsOf,
    DataCommit,
    Environment,
    Force,
    Json,
    SpecPath,
    Why,
    find_spec,
    print_json,
    request,
)

if TYPE_CHECKING:
    from pipeline.errors import Problem
    from pipeline.operations.review import Review
    from pipeline.runs.request import RunRequest
    from pipeline.runs.results import StepResult

app = typer.Typer()


class ChangesExit(SystemExit):
    """A plan changes something; with ``--detailed-exitcode`` no other end of the command has this code."""

    exit_code = 2


@app.command(epilog="Example: modelrail check models/flight-delay.yaml --environment prod")
def check(
    specs: Annotated[list[Path] | None, typer.Argument(help="Specs; by default all in models/.")] = None,
    environment: Environment = None,
    infer: Annotated[
        bool, typer.Option("--infer", help="Read the newest partition too, and show each column's type and doubts.")
    ] = False,
    as_json: Json = False,
    report: Annotated[
        list[str] | None,
        typer.Option(
            help="Print instead, or write to a file, what a CI system shows: github, gitlab, azure, junit or sarif.",
            metavar="FORM[=FILE]",
        ),
    ] = None,
) -> None:
    """Find every mistake in every spec: file, line, column, what was found, what was expected."""
    from pipeline.answers import asking_once
    from pipeline.messages import count, encodable
    from pipeline.spec.files import find_specs
    from pipeline.spec.loading.loading import check_specs

    reports = [_asked(each) for each in report or ()]
    paths = [find_spec(path) for path in specs] if specs else find_specs()
    if not paths:
        raise InputError("models/: found no spec; expected at least one YAML file (docs/your-own-data.md)")
    with asking_once():
        problems = check_specs(paths, environment)
    printed = [_write_report(*each, paths, problems) for each in reports]
    if any(printed):
        raise typer.Exit(InputError.exit_code if problems else 0)
    if infer and not problems:
        _show_inferred(paths, environment, as_json=as_json)
    if as_json and (problems or not infer):
        print_json([vars(each) for each in problems])
    elif not as_json:
        for problem in problems:
            typer.echo(encodable(str(problem)))
        found = f", {count(len(problems), 'problem')}" if problems else ": all is well"
        typer.echo(f"{count(len(paths), 'spec')}{found}")
    raise typer.Exit(InputError.exit_code if problems else 0)


def _asked(report: str) -> tuple[str, Path | None]:
    """Read ``FORM`` or ``FORM=FILE``."""
    from pipeline.integrations.annotations import REPORTS
    from pipeline.messages import join, quote

    form, mark, file = report.partition("=")
    if form not in REPORTS or (mark and not file):
        raise InputError(f"--report: found {quote(report)}; expected {join(REPORTS)}, with =FILE to write it to a file")
    return form, Path(file) if file else None


def _write_report(form: str, file: Path | None, specs: Sequence[Path], problems: Sequence[Problem]) -> bool:
    """Write or print a report, with paths as the repository has them; tell whether it was printed."""
    from dataclasses import replace

    from pipeline.home import refuse_links, repository_path
    from pipeline.integrations.annotations import REPORTS
    from pipeline.messages import encodable

    named = [
        replace(each, file=encodable(repository_path(each.file)), found=encodable(each.found)) for each in problems
    ]
    text = REPORTS[form]([encodable(repository_path(each)) for each in specs], named)
    if file is None:
        typer.echo(text, nl=False)
        return True
    refuse_links(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
    return False


def _show_inferred(specs: Sequence[Path], environment: str | None, *, as_json: bool) -> None:
    from pipeline.operations.inference import infer_columns  # reads data, which no other check does
    from pipeline.ui.terminal.inference import show_inferred

    found = [infer_columns(each, environment) for each in specs]
    if as_json:
        print_json([each.to_json() for each in found])
        return
    for each in found:
        show_inferred(each)


@app.command(epilog="Example: modelrail schema > model.schema.json")
def schema() -> None:
    """Print the JSON Schema of a spec, for editors."""
    from pipeline.spec.reference.publishing import json_schema

    print_json(json_schema())


@app.command(epilog="Example: modelrail plan --markdown --detailed-exitcode")
def plan(
    spec: Annotated[
        Path | None, typer.Argument(help="The spec; by default all in models/, one after the other.", metavar="[SPEC]")
    ] = None,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, for a pull request's comment.")] = False,
    commit: Annotated[
        str | None, typer.Option(help="Commit or branch whose specs, and data next to them, are planned; no checkout.")
    ] = None,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="End with 0: nothing changes, 2: something, 1: an error.")
    ] = False,
) -> None:
    """Say what would run since what is live, why, for how long and at what price, and what would change in serving."""
    from pipeline.operations.review import review_all, specs_of

    paths = [named_at(spec, commit)] if spec else specs_of(Path("models"), commit)
    asked = [request(each, environment, data_commit, as_of, force=force) for each in paths]
    outcomes, failures = review_all(asked, commit)
    _show_plans(outcomes, as_json=as_json, as_list=spec is None, markdown=markdown)
    for _, failure in failures:
        typer.echo(f"modelrail: {failure}", err=True)
    if failures:
        raise typer.Exit(1 if detailed_exitcode else failures[0][1].exit_code)
    if detailed_exitcode and any(each.changes_something for each in outcomes):
        raise ChangesExit(ChangesExit.exit_code)


def named_at(spec: Path, commit: str | None) -> Path:
    """Accept a name for its file in ``models/`` also where only the commit has it."""
    return Path("models") / f"{spec}.yaml" if commit and not spec.suffix and not spec.exists() else spec


def _show_plans(found: Sequence[Review], *, as_json: bool, as_list: bool, markdown: bool) -> None:
    from pipeline.ui.terminal.plans import describe_plan, markdown_plan, show_plan

    if as_json:
        plans = [describe_plan(each) for each in found]
        for content in [plans] if as_list else plans:
            print_json(content)
        return
    for each in found:
        if markdown:
            typer.echo(markdown_plan(each))
        else:
            show_plan(each)


@app.command(epilog="Example: modelrail run models/flight-delay.yaml --why 'new features'")
def run(
    spec: Annotated[
        Path | None, typer.Argument(help="The spec; by default all in models/, one after the other.", metavar="[SPEC]")
    ] = None,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    why: Why = "",
    as_json: Json = False,
) -> None:
    """Run what changed, in this process: from the data commit to the verified deployment."""
    from pipeline.spec.files import find_specs

    told: list[dict[str, Any]] = []
    failures: list[ModelrailError] = []
    for path in [spec] if spec else find_specs():
        if not (spec or as_json):
            typer.echo(f"{path}:")
        try:
            told.append(_run(request(path, environment, data_commit, as_of, force=force, reason=why), as_json=as_json))
        except ModelrailError as error:  # one that fails does not keep the others from running
            failures.append(error)
    if spec and failures:
        raise failures[0]
    if as_json:
        print_json(told[0] if spec else told)
    for failure in failures:
        typer.echo(f"modelrail: {failure}", err=True)
    if failures:
        raise typer.Exit(failures[0].exit_code)


def _run(wanted: RunRequest, *, as_json: bool) -> dict[str, Any]:
    from pipeline.runs import running
    from pipeline.ui.commands.telling import telling_of_run
    from pipeline.ui.terminal.runs import show_outcome, show_step

    done: list[StepResult] = []

    def report(result: StepResult) -> None:
        done.append(result)
        if not as_json:
            show_step(result)

    with telling_of_run(Path(wanted.spec), wanted.environment, done):
        outcome, results = running.run(wanted, report)
    if not as_json:
        show_outcome(outcome, results)
    return {"spec": wanted.spec, "outcome": outcome, "steps": [each.to_json() for each in results]}


@app.command(epilog="Example: modelrail step train models/flight-delay.yaml --data-commit 4be1a2c")
def step(
    name: Annotated[str, typer.Argument(help="clean, transform, normalize, train, evaluate, release, deploy, verify.")],
    spec: SpecPath,
    environment: Environment = None,
    data_commit: DataCommit = None,
    as_of: AsOf = None,
    force: Force = False,
    partition: Annotated[list[str] | None, typer.Option(help="For clean and transform: only this one.")] = None,
    mlflow_run: Annotated[str | None, typer.Option(help="MLflow run to record the step in.")] = None,
    then: Annotated[list[str] | None, typer.Option(help="With --opened: a step to do after it, if it goes.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Partitions worked on at once.")] = None,
    repository: Annotated[str | None, typer.Option(help="URL to clone the spec from; SPEC is its path there.")] = None,
    commit: Annotated[str | None, typer.Option(help="With --repository: the commit of the spec.")] = None,
    opened: Annotated[str | None, typer.Option(help="What the plan of a run in Airflow gave, as JSON.")] = None,
    trial: Annotated[
        list[int] | None, typer.Option(help="With --opened: only score this parameter set of model.search.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="With --trial: training rows to fit it on.")] = None,
) -> None:
    """Run one step (or reuse what is there) and print its result as JSON; what pods and Dask's workers call."""
    from pipeline.runs import running

    if (trial or rows) and not (trial and rows and opened and name == "train"):
        raise InputError("step: found --trial or --rows by itself; expected both, with --opened, for the step train")
    if opened is not None:
        place = _place(repository, commit, str(spec))
        _do_sent(place, [name, *(then or ())], partition or None, threads or 1, opened, (rows or 0, trial or []))
        return
    if repository is not None:
        spec = _cloned(repository, commit, spec)
    wanted = request(spec, environment, data_commit, as_of, force=force)
    print_json(running.run_one(name, wanted, partition or None, mlflow_run, threads).to_json())


def _cloned(repository: str, commit: str | None, spec: Path) -> Path:
    from pipeline.home import home
    from pipeline.storage.git.mirrors import check_out

    if commit is None:
        raise InputError("step: found --repository without a commit; expected --commit as well")
    return check_out(repository, commit, home()) / spec


def _place(repository: str | None, commit: str | None, spec: str) -> tuple[str, str, str]:
    if repository is None or commit is None:
        raise InputError("step: found --opened by itself; expected --repository and --commit, as a pod is told them")
    return repository, commit, spec


def _do_sent(
    place: tuple[str, str, str],
    steps: list[str],
    partitions: list[str] | None,
    threads: int,
    opened: str,
    trials: tuple[int, list[int]],
) -> None:
    import json

    from pipeline.runs import step_elsewhere
    from pipeline.runs.opened_run import OpenedRun

    told = OpenedRun.from_json(json.loads(opened))
    if trials[1]:
        typer.echo(step_elsewhere.do_trials(told, place, *trials))
    else:
        step_elsewhere.do(told, place, steps, partitions, threads, typer.echo)
