"""Everything on one machine: bring it up, run a model's DAG, show what came out, stay until told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection
from pathlib import Path
from types import FrameType

from pipeline.delivery.platforms.local.deployments import deployments
from pipeline.delivery.platforms.local.deployments import stop as stop_deployment
from pipeline.errors import ModelrailError
from pipeline.home import home
from pipeline.orchestration.mlflow_links import link_experiments
from pipeline.orchestration.services.following import Outcome, follow
from pipeline.orchestration.services.process_records import Services
from pipeline.orchestration.services.rest_client import Airflow
from pipeline.orchestration.services.services import down, find_dead, up
from pipeline.orchestration.services.starting import wait_for_mlflow
from pipeline.runs.request import RunRequest
from pipeline.spec.loading.loading import load_spec
from pipeline.ui.terminal.console import console
from pipeline.ui.terminal.runs import show_summary

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_S = 2.0


def host(request: RunRequest | None, *, stay: bool, stop: bool) -> int:
    """Start Airflow and MLflow, run a DAG if asked to, and stay.

    Parameters
    ----------
    request : RunRequest or None
        The run to trigger and to follow.
    stay : bool
        Stay up until Ctrl-C, SIGTERM or SIGHUP.
    stop : bool
        Stop in the end what was started here, the models that were deployed meanwhile included.

    Returns
    -------
    int
        Exit code: 0, or 1 if the run failed.
    """
    state = home()
    outcome, services, before = None, None, {each.model for each in deployments(state)}
    for number in _ENDING:
        signal.signal(number, _interrupt)
    try:
        models = Path(request.spec).resolve().parent if request else Path("models").resolve()
        services = up(state, models, say=lambda line: console.print(f"[dim]{line}[/]"))
        outcome = _run(services, request, to_be_stopped=stop and not services.reused) if request else None
        _tell_addresses(services, outcome)
        if stay:
            console.print("\nPress Ctrl-C to stop what was started here.")
            _stay(services)
    except KeyboardInterrupt:
        console.print()
    finally:
        if stop:
            for number in _ENDING:  # half stopped is worse than a second's wait
                signal.signal(number, signal.SIG_IGN)
            _stop(state, services, before)
    return 0 if outcome is None or outcome.succeeded else 1


def _stop(state: Path, services: Services | None, before: Collection[str]) -> None:
    """Stop what was started here; leave models that were live `before`, and an Airflow that ran before."""
    begun = time.monotonic()
    console.print("[dim]Stopping what was started here ...[/]")
    live = deployments(state)
    for deployment in live:
        if deployment.model not in before:
            stop_deployment(deployment.model, state)
    if services and services.reused:
        console.print("[dim]Airflow ran before and goes on; 'modelrail down' stops it[/]")
    else:
        down(state, [each.pid for each in live if each.model in before])
    console.print(f"[dim]Stopped in {time.monotonic() - begun:.1f} s[/]")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(services: Services, request: RunRequest, *, to_be_stopped: bool) -> Outcome:
    """Trigger the model's DAG, follow it, and show what came out."""
    model = load_spec(request.spec, request.environment).spec.model.name
    asked = request.to_json()
    conf = {name: asked[name] for name in ("data_commit", "as_of", "environment", "force", "reason") if asked[name]}
    with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
        run = airflow.trigger(model, conf)
        console.print(f"DAG [bold]{model}[/], run {run}\n")
        try:
            outcome = follow(airflow, model, run, console)
        except KeyboardInterrupt:
            if to_be_stopped:  # else the next start would wait for what nobody works on any more
                airflow.give_up(model, run, "Interrupted: Airflow was stopped")
            raise
    console.print()
    for failure in outcome.failures:
        console.print(f"[bold red]{failure.task} failed:[/] ", end="")
        console.print(failure.message, markup=False)
    if outcome.succeeded:
        _summarize(outcome)
    return outcome


def _summarize(outcome: Outcome) -> None:
    facts: dict[str, object] = {}
    for result in outcome.results.values():
        facts |= result
    release = outcome.results["release"]
    word = "not released" if not outcome.released else "unchanged" if release["action"] == "reused" else "released"
    show_summary(word, facts, outcome.seconds)


def _tell_addresses(services: Services, outcome: Outcome | None) -> None:
    wait_for_mlflow(services)
    console.print()
    if outcome and "address" in (verified := outcome.results.get("verify", {})):
        console.print(f"Model    {verified['address']}")
    login = services.login
    console.print(f"MLflow   {link_experiments(services.mlflow_url)}")
    console.print(f"Airflow  {services.airflow_url}   user [bold]{login.user}[/], password [bold]{login.password}[/]")
    if outcome:
        console.print(f"         {outcome.page}")


def _stay(services: Services) -> None:
    """Wait until told to stop; say so if a part ends by itself."""
    while True:
        time.sleep(_LOOK_S)
        if dead := find_dead(services):
            each = dead[0]
            raise ModelrailError(f"up: {each.name} has ended by itself; expected it to run: see {each.log}")
