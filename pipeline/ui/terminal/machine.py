"""What runs on a machine, and what it lacks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape

from pipeline.orchestration.mlflow_links import link_experiments
from pipeline.ui.terminal.console import console

if TYPE_CHECKING:
    from pipeline.delivery.applied_settings import Failure
    from pipeline.delivery.drift import Observation
    from pipeline.delivery.platforms.local.deployments import Deployment
    from pipeline.operations.doctor import Finding
    from pipeline.orchestration.services.process_records import Service, Services


def show_findings(findings: Sequence[Finding]) -> None:
    """Print what the doctor found."""
    marks = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]–[/]"}
    for each in findings:
        console.print(f"{marks[each.ok]} {each.name:<22} {each.found}  [dim]{each.needed_for}[/]")
        if each.ok is not True and each.mend:
            console.print("\n".join(f"    {line}" for line in escape(each.mend).splitlines()))


def show_status(services: Services | None, dead: Sequence[Service], live: Sequence[Deployment]) -> None:
    """Print what runs."""
    if services is None:
        console.print("Airflow and MLflow: not running ('modelrail up' starts them)")
    else:
        console.print(f"Airflow  {services.airflow_url}\nMLflow   {link_experiments(services.mlflow_url)}")
    for each in dead:
        console.print(f"[red]{each.name} has ended[/]: see {each.log}")
    for deployment in live:
        console.print(f"{deployment.model} v{deployment.version.removeprefix('v')}  {deployment.address}")
    if not live:
        console.print("no model is live here ('modelrail run' makes one)")


def show_waiting(found: Sequence[tuple[str, str]]) -> None:
    """Print which models environments name that were never live there."""
    for model, environment in found:
        console.print(f"{model} in {environment}: [yellow]waiting for its first release[/]")


def show_failures(found: Sequence[Failure]) -> None:
    """Print which releases could not be made live, where nothing was made live since."""
    for each in found:
        console.print(
            f"{each.release} [red]could not be made live[/] in {each.environment} ({each.at}): {escape(each.said)}"
        )


def show_elsewhere(found: Sequence[Observation]) -> None:
    """Print what other platforms say, and where they are not as Git says."""
    for each in found:
        release = each.release or each.model
        if each.trouble:
            console.print(f"{release} in {each.environment}: [red]not known[/]: {escape(each.trouble)}")
            continue
        now = f"live at {each.live.address}" if each.live else "[red]nothing answers[/]"
        console.print(f"{release} in {each.environment}: {now}")
        for difference in each.differences:
            console.print(f"  [yellow]![/] {escape(str(difference))}")
        if each.differences:
            console.print(f"  'modelrail deploy {each.model} --environment {each.environment}' mends it", markup=False)
