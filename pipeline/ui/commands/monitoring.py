"""Commands that watch what is live."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pipeline.errors import InputError, ModelrailError
from pipeline.messages import count
from pipeline.ui.commands.models import ChangesExit
from pipeline.ui.commands.options import Environment, Json, Model, find_model, find_spec, print_json
from pipeline.ui.commands.releases import Reason, Stage
from pipeline.ui.commands.telling import tell_news

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.delivery.deploying import Slot
    from pipeline.monitoring.advice import Advice
    from pipeline.monitoring.rendering import Watched
    from pipeline.monitoring.watching import Look
    from pipeline.spec.schema.spec import Spec

app = typer.Typer()
monitoring = typer.Typer(help="What other programs watch models with.", no_args_is_help=True)
app.add_typer(monitoring, name="monitoring")


@app.command(epilog="Example: modelrail watch flight-delay --json")
def watch(
    model: Annotated[
        str | None,
        typer.Argument(help="The model's name, or its spec; by default all that are live.", metavar="[MODEL]"),
    ] = None,
    environment: Environment = None,
    as_json: Json = False,
    act: Annotated[bool, typer.Option("--act", help="Do what monitoring.actions says is to be done about it.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="The same, and approve what asks for it.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="End with 0: quiet or too few requests, 2: not, 1: an error.")
    ] = False,
) -> None:
    """Judge what is live since the last look: requests that fail, columns that moved, quality on newer rows."""
    from pipeline.ui.terminal.watching import show_look

    treat = _mend(approve=approve) if act or approve else _propose
    looked, failures = _look_at(model and find_model(model), environment, treat)
    found = [each for each, _ in looked]
    if as_json:
        documents = [each.to_json() | {"actions": said} for each, said in looked]
        for content in [documents] if model is None else documents:
            print_json(content)
    else:
        for each, said in looked:
            show_look(each, said)
    for failure in failures:
        typer.echo(f"modelrail: {failure}", err=True)
    if failures:
        raise typer.Exit(failures[0].exit_code)
    if detailed_exitcode and not all(each.is_quiet for each in found):
        raise ChangesExit(ChangesExit.exit_code)


def _propose(slot: Slot) -> list[str]:
    """Say what would be done about the last look."""
    from pipeline.monitoring.mending import propose

    decision = propose(slot)
    if decision is None:
        return []
    what = f"{decision.deed} ({decision.signal})"
    if decision.refusal:
        return [f"{what} is not due: {decision.refusal}"]
    return [f"{what} is due ('modelrail watch {slot.model} --environment {slot.environment} --act')"]


def _mend(*, approve: bool) -> Callable[[Slot], list[str]]:
    """Return what does something about the last look."""
    from pipeline.monitoring.mending import mend

    def act(slot: Slot) -> list[str]:
        who = slot.repository.who() if approve else None
        return [each.said for each in mend(slot, approve=lambda _: who)]

    return act


def _look_at(
    model: str | None, environment: str | None, treat: Callable[[Slot], list[str]]
) -> tuple[list[tuple[Look, list[str]]], list[ModelrailError]]:
    """Look at one model, or at all that are live, and treat what is found; one failure does not hide the others."""
    from pipeline.delivery.promotion import find_slot
    from pipeline.monitoring.watching import find_live, look
    from pipeline.spec.loading.names import find_every_spec
    from pipeline.storage.git.repository import open_repository

    repository = open_repository(Path.cwd())
    specs = find_every_spec(repository.root)
    slots = [find_slot(repository, model, environment)] if model else find_live(repository, specs, environment)
    if not slots:
        raise InputError("models/: found no model that is live and can be looked at; expected one (modelrail run)")
    found: list[tuple[Look, list[str]]] = []
    failures: list[ModelrailError] = []
    for slot in slots:
        try:
            seen = look(slot)
            found.append((seen, treat(slot)))
            tell_news(slot)
        except ModelrailError as error:
            failures.append(error)
    return found, failures


@app.command(epilog="Example: modelrail diagnose flight-delay --environment prod")
def diagnose(
    model: Model,
    environment: Stage = None,
    as_json: Json = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="File to write besides: all that is known of every environment, on one page."),
    ] = None,
) -> None:
    """Say what the last look has found, since when it is so, and what was done about it; nobody is asked anew."""
    from dataclasses import asdict

    from pipeline.delivery.promotion import find_slot
    from pipeline.monitoring.account import account
    from pipeline.storage.git.repository import open_repository
    from pipeline.ui.terminal.watching import show_account

    repository = open_repository(Path.cwd())
    found = account(find_slot(repository, model, environment))
    if html is not None:
        html.write_text(_report(repository.root / "models", model), "utf-8")
    if as_json:
        print_json(asdict(found))
    else:
        show_account(found)


def _report(models: Path, model: str) -> str:
    """Write the tab Watch as a file of its own."""
    from pipeline.ui.pages.archive import Archive
    from pipeline.ui.pages.rendering import render_alone
    from pipeline.ui.pages.watch import watch_page

    archive = Archive(models)
    source = archive.sources.find(find_model(model))
    if source is None:
        raise InputError(f"{models}: found no spec of {model}; expected one in this folder (--html)")
    return render_alone("watch.html", shown=watch_page(archive, source))


@app.command(epilog="Example: modelrail hold flight-delay --environment prod --why 'the source is being mended'")
def hold(model: Model, why: Reason, environment: Stage = None) -> None:
    """Let nothing new go live in an environment, until it is resumed; what is live stays, and can be rolled back."""
    _record(model, environment, "hold", why)


@app.command(epilog="Example: modelrail resume flight-delay --environment prod --why 'the column is filled again'")
def resume(model: Model, why: Reason, environment: Stage = None) -> None:
    """Let releases go live again where a watcher or a person has put that on hold."""
    _record(model, environment, "resume", why)


def _record(model: str, environment: str | None, deed: Literal["hold", "resume"], why: str) -> None:
    from pipeline.delivery.promotion import find_slot
    from pipeline.monitoring import mending
    from pipeline.storage.git.repository import open_repository

    slot = find_slot(open_repository(Path.cwd()), model, environment)
    made = mending.hold(slot, deed, why)
    tell_news(slot)
    said = "nothing new goes live" if deed == "hold" else "releases go live again"
    typer.echo(f"{model} in {made.environment}: {said} ({made.tag})")


@app.command(epilog="Example: modelrail advise flight-delay --environment prod --patch")
def advise(
    model: Annotated[
        str | None,
        typer.Argument(help="The model's name, or its spec; by default all in models/.", metavar="[MODEL]"),
    ] = None,
    environment: Environment = None,
    patch: Annotated[
        bool, typer.Option("--patch", help="Print what the spec or its environment would say, as YAML.")
    ] = False,
    as_json: Json = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="End with 0: nothing to change, 2: something, 1: an error.")
    ] = False,
) -> None:
    """Say what steps in pods and servers get that they were measured not to need, or need more of."""
    from dataclasses import asdict

    from pipeline.monitoring.advice import as_patch
    from pipeline.monitoring.rendering import to_plain_yaml
    from pipeline.ui.terminal.advice import show_advice

    any_found = False
    for each in _watched(model, environment):
        found, judged = _advise_on(each)
        any_found |= bool(found)
        if patch:
            typer.echo(f"# {each.name}\n{to_plain_yaml(as_patch(found)) if found else ''}", nl=False)
        elif as_json:
            advice = [asdict(one) for one in found]
            print_json({"model": each.name, "environment": environment, "judged": judged, "advice": advice})
        else:
            show_advice(each.name, found, judged, each.spec.environment.prices)
    if detailed_exitcode and any_found:
        raise ChangesExit(ChangesExit.exit_code)


def _advise_on(watched: Watched) -> tuple[list[Advice], list[str]]:
    """Judge what a model gets; say besides what there was to judge by."""
    import os
    from datetime import UTC, datetime, timedelta

    from pipeline.home import home, store_address
    from pipeline.monitoring.advice import DAYS, advise
    from pipeline.monitoring.sources import PROMETHEUS, TOKEN, ask_serving
    from pipeline.runs.costs import read_costs
    from pipeline.storage.artifacts import open_store

    spec, state = watched.spec, home()
    since = datetime.now(UTC) - timedelta(days=DAYS)
    every = read_costs(open_store(store_address(state), state), watched.name, since)
    spent = [each for each in every if each.environment == watched.environment]
    judged = [f"{count(len({each.run for each in spent}), 'run')} of {DAYS} days, {_in_pods(spec)}"]
    serving = None
    if (address := os.environ.get(PROMETHEUS)) and spec.environment.platform == "kubernetes":
        token = os.environ.get(TOKEN)
        serving = ask_serving(address, token, watched.name, spec.deploy.namespace, DAYS)
        judged.append("servers as Prometheus knows them" if serving else "no figures of servers in Prometheus")
    else:
        judged.append(f"no figures of servers ({PROMETHEUS}, on Kubernetes)")
    return advise(spec, spent, serving), judged


def _in_pods(spec: Spec) -> str:
    from pipeline.spec.placement import pod_steps

    steps = pod_steps(spec.run)
    return f"{', '.join(steps)} in pods" if steps else "no step in a pod"


class Program(StrEnum):
    """What is rendered for whom."""

    prometheus = "prometheus"
    alertmanager = "alertmanager"
    grafana = "grafana"
    servicemonitor = "servicemonitor"
    elasticsearch = "elasticsearch"
    opensearch = "opensearch"
    kibana = "kibana"
    rsyslog = "rsyslog"
    fluent_bit = "fluent-bit"
    logstash = "logstash"


@monitoring.command(epilog="Example: modelrail monitoring render --to prometheus --out monitoring/")
def render(
    to: Annotated[
        Program,
        typer.Option(
            help="Rules; routes of alerts; a dashboard; objects of the Prometheus operator; an index of logs; a "
            "dashboard of these; what sends them there."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Argument(help="The model's name, or its spec; by default all in models/.", metavar="[MODEL]"),
    ] = None,
    environment: Environment = None,
    webhook: Annotated[
        str | None, typer.Option(help="For alertmanager: the address that alerts are sent to, as WEBHOOK/SEVERITY.")
    ] = None,
    logs: Annotated[
        str, typer.Option(help="For rsyslog, fluent-bit and logstash: the address of Elasticsearch or OpenSearch.")
    ] = "http://127.0.0.1:9200",
    out: Annotated[Path | None, typer.Option(help="Folder to write files into, for GitOps to sync.")] = None,
) -> None:
    """Print what other programs need to watch models, or to keep their logs."""
    from pipeline.home import home
    from pipeline.monitoring.rendering import RENDERERS, Asked, in_one

    files = list(RENDERERS[to](Asked(_watched(model, environment), webhook, logs, home())))
    if out is None:
        typer.echo(in_one(files, to), nl=False)
        return
    for name, text in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
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
