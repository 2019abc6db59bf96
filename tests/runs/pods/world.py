"""A project in a real Airflow whose steps run in pods of a real cluster."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.orchestration.services import Airflow, Services, down, follow, processes, settings, up
from pipeline.orchestration.services.following import Outcome
from pipeline.orchestration.services.rest_client import _run as name_run

from .cluster import Namespace, namespace, served

Files = Callable[[str], Mapping[str, str]]


@dataclass(frozen=True)
class World:
    """A project, an Airflow that runs its one model, and the namespace of its pods."""

    project: Path
    model: str
    port: int
    namespace: Namespace
    services: Services
    airflow: Airflow
    environment: Mapping[str, str]

    def trigger(self, environment: str | None, **conf: object) -> str:
        return self.airflow.trigger(self.model, {"environment": environment, **conf})

    def follow(self, run: str) -> Outcome:
        return follow(self.airflow, self.model, run, Console(quiet=True))

    def run(self, environment: str, **conf: object) -> Outcome:
        return self.follow(self.trigger(environment, **conf))

    def name(self, run: str) -> str:
        """Return a run's address in Airflow's API."""
        return name_run(self.model, run)

    def log(self, run: str, task: str) -> str:
        """Return the log of a task's last try."""
        (last,) = (each.try_number for each in self.airflow.list_tasks(self.model, run) if each.task_id == task)
        return str(self.airflow.request("GET", f"{self.name(run)}/taskInstances/{task}/logs/{last}"))

    def commit(self, files: Mapping[str, str], subject: str) -> None:
        """Commit files of the project, and push."""
        write(self.project, files)
        git(self.project, "add", "-A")
        git(self.project, "commit", "-q", "-m", subject)
        git(self.project, "push", "-q", "origin", "main")

    @contextmanager
    def stopped(self, service: str) -> Iterator[None]:
        """Stop the processes of a service of Airflow; let them go on afterwards."""
        own = processes.find_by_variable(settings.MARKER, str(self.project / ".modelrail"))
        found = [process for process in own if service in " ".join(process.cmdline())]
        assert found
        for process in found:
            process.suspend()
        try:
            yield
        finally:
            for process in found:
                process.resume()

    def restart(self) -> None:
        """Kill all of Airflow, and start it again."""
        for process in processes.find_by_variable(settings.MARKER, str(self.project / ".modelrail")):
            process.send_signal(signal.SIGKILL)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            up(self.project / ".modelrail", self.project / "models", airflow_port=self.port)


@contextmanager
def started(folder: Path, port: int, write_files: Files) -> Iterator[World]:
    """Start all that is needed for a project whose files a function of its namespace's name gives; and end it."""
    with pytest.MonkeyPatch.context() as patch, namespace() as own, served(folder, port + 10_000) as served_at:
        for name in [name for name in os.environ if name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))]:
            patch.delenv(name)
        environment = {"MODELRAIL_STORE": f"s3://store/{own.name}", "MLFLOW_TRACKING_URI": served_at["mlflow"]}
        for name, value in environment.items():
            patch.setenv(name, value)
        project = make_project(folder, write_files(own.name), served_at["git"])
        (spec,) = (project / "models").glob("*.yaml")
        state = project / ".modelrail"
        try:
            services = up(state, project / "models", airflow_port=port)
            with Airflow(services.airflow_url, services.login.user, services.login.password) as airflow:
                yield World(project, spec.stem, port, own, services, airflow, environment)
        finally:
            down(state)
            stop_all(state)


def make_project(folder: Path, files: Mapping[str, str], git_address: str) -> Path:
    """Make a repository with these files and a remote that pods reach."""
    project = folder / "project"
    write(project, {".gitignore": ".modelrail/\n", **files})
    subprocess.run(["git", "init", "-q", "-b", "main", str(project)], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", "--bare", str(folder / "origin.git")], check=True)
    git(project, "config", "user.name", "Test")
    git(project, "config", "user.email", "test@example.org")
    git(project, "remote", "add", "origin", f"{git_address}/origin.git")
    git(project, "add", "-A")
    git(project, "commit", "-q", "-m", "spec and data")
    git(project, "push", "-q", "origin", "main")
    return project


def write(project: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def states(outcome: Outcome) -> dict[str, str]:
    return {step.step: step.state for step in outcome.steps}


def pods_of(world: World, run: str) -> dict[str, str]:
    """Return the pods of a run's tasks, by task; those without one are left out."""
    tasks = {task.task_id: task for task in world.airflow.list_tasks(world.model, run)}
    found = {name: world.airflow.read_result(world.model, run, task, "pod_name") for name, task in tasks.items()}
    return {name: str(pod) for name, pod in found.items() if pod}
