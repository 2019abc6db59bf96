"""An Airflow with KubernetesExecutor: its parts are processes of this machine, each of its tasks is a pod."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from benchmarks.executor import page
from pipeline.errors import ModelrailError
from pipeline.orchestration.services import Airflow, follow, processes, settings
from pipeline.orchestration.services.following import Outcome
from pipeline.orchestration.services.ports import choose_port
from tests.cluster.conftest import PLATFORM, REGISTRY, Project, modelrail, wait_until
from tests.cluster.guarding import LOGIN, guarded
from tests.runs.pods.cluster import Namespace, namespace, served
from tests.runs.pods.world import git, make_project, write

NODE = os.environ.get("NODE_ADDRESS", "")
BUILD = shlex.split(os.environ.get("MODELRAIL_TEST_BUILD", ""))


@dataclass
class World:
    """A project with one model, the Airflow that runs it, and the namespace of everything."""

    project: Project
    model: str
    namespace: Namespace
    airflow: Airflow
    environment: dict[str, str]
    scheduler: int = 0

    def start(self, part: str) -> int:
        """Start a part of Airflow; gives its session."""
        folder = self.project.root / ".modelrail"
        return processes.start(
            [sys.executable, "-m", "airflow", *part.split()],
            self.environment,
            folder / "logs" / f"{part.split(maxsplit=1)[0]}.log",
            folder,
        )

    def start_scheduler(self) -> None:
        """Start it, or start it again."""
        self.scheduler = self.start("scheduler --skip-serve-logs")

    def kill_scheduler(self) -> None:
        """Kill it and all that it has started, at once."""
        for process in processes.find_by_session([self.scheduler]):
            process.send_signal(signal.SIGKILL)

    def trigger(self, environment: str) -> str:
        """Start a run."""
        return self.airflow.trigger(self.model, {"environment": environment})

    def follow(self, run: str) -> Outcome:
        """Show a run until it has ended."""
        return follow(self.airflow, self.model, run, Console(width=200))

    def tasks(self, run: str) -> dict[str, Any]:
        """Return a run's tasks as Airflow has them."""
        address = f"/api/v2/dags/{self.model}/dagRuns/{run}/taskInstances"
        return {each["task_id"]: each for each in self.airflow.request("GET", address)["task_instances"]}

    def workers(self) -> dict[str, dict[str, Any]]:
        """Return the workers by their task."""
        found = (each for each in self.namespace.pods() if "airflow-worker" in each["metadata"].get("labels", {}))
        return {each["metadata"]["annotations"]["task_id"]: each for each in found}

    def commit(self, files: dict[str, str], subject: str) -> None:
        """Commit files, and push."""
        write(self.project.root, files)
        for words in (["add", "-A"], ["commit", "-q", "-m", subject], ["push", "-q", "origin", "main"]):
            git(self.project.root, *words)


@contextmanager
def started(
    folder: Path, spec: str, data: dict[str, str], image: str, serving: str, deploy: Mapping[str, Any]
) -> Iterator[World]:
    """Start all of it, by the files of the page; and end it."""
    with namespace() as own, guarded(REGISTRY) as registry, served(folder, 28_581) as at:
        worker = f"{REGISTRY}/executor-worker:{own.name}"
        page.build_worker(folder / "image", image, worker, BUILD)
        images = {"base": serving, "repository": f"{REGISTRY}/{own.name}"}
        whole = {"push_tags": True, "namespace": own.name, "image": images, **deploy}
        overlay = json.dumps({"deploy": whole, "environment": PLATFORM})
        files = {"models/late-flights.yaml": spec, "environments/kubernetes.yaml": overlay, **data}
        project = Project(make_project(folder, files, at["git"]), own.name, lambda *_: "")
        _grant(own, project)
        url = f"http://{NODE}:{choose_port(18_581)}"
        page.write_template(
            folder / "pod_template.yaml",
            {
                page.WORKER: worker,
                page.GIT: f"{at['git']}/origin.git",
                page.API: url,
                page.STORE: f"s3://store/{own.name}",
                page.MLFLOW: at["mlflow"],
            },
            {"AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"], "MODELRAIL_REGISTRIES": f"{REGISTRY}={registry}"},
        )
        environment = _environment(project.root, url, own.name, folder / "pod_template.yaml")
        made = World(project, "late-flights", own, Airflow(url, *_login(project.root)), environment)
        try:
            _start(made)
            yield made
        finally:
            processes.stop(lambda: _parts(project.root))
            made.airflow.close()


def _grant(own: Namespace, project: Project) -> None:
    """Make the page's Secrets, and the account that deploys."""
    keys = [f"--from-literal={name}={os.environ[name]}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    own.kubectl("create", "secret", "generic", "modelrail", *keys)
    login = json.dumps({"auths": {REGISTRY: {"auth": LOGIN}}})
    secret = ("--type=kubernetes.io/dockerconfigjson", f"--from-literal=.dockerconfigjson={login}")
    own.kubectl("create", "secret", "generic", "registry", *secret)
    access = modelrail(project, "manifests", "late-flights", "--environment", "kubernetes", "--access")
    if access.returncode:
        raise SystemExit(access.stderr)
    own.kubectl("apply", "--filename", "-", stdin=access.stdout)


def _environment(project: Path, url: str, namespace: str, template: Path) -> dict[str, str]:
    """Return the settings of Airflow's parts: those of ``modelrail up``, and the page's over them."""
    port = int(url.rpartition(":")[2])
    places = settings.Places(project / ".modelrail", page.ROOT, project / "models", port, 0)
    settings.prepare_airflow_home(places.airflow_home)
    usual = settings.make_environment(places)
    return {
        **usual,
        **page.settings(),
        "AIRFLOW__API__HOST": NODE,
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__KUBERNETES_EXECUTOR__NAMESPACE": namespace,
        "AIRFLOW__KUBERNETES_EXECUTOR__POD_TEMPLATE_FILE": str(template),
        "AIRFLOW__KUBERNETES_EXECUTOR__IN_CLUSTER": "False",
        "AIRFLOW__KUBERNETES_EXECUTOR__CONFIG_FILE": os.environ["KUBECONFIG"],
    }


def _login(project: Path) -> tuple[str, str]:
    return settings.USER, settings.read_password(project / ".modelrail" / "airflow")


def _start(world: World) -> None:
    migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
    subprocess.run(migrate, env=world.environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for part in ("api-server", "dag-processor"):
        world.start(part)
    world.start_scheduler()
    wait_until(lambda: _answers(world), "Airflow's API", 180)


def _answers(world: World) -> bool:
    try:
        world.airflow.request("GET", "/api/v2/monitor/health")
    except ModelrailError:  # whatever it is: not yet
        return False
    return True


def _parts(project: Path) -> list[psutil.Process]:
    return processes.find_by_variable(settings.MARKER, str(project / ".modelrail"))
