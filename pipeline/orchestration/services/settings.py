"""Airflow's and MLflow's settings, as environment variables, and the login."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.home import tracking_address
from pipeline.orchestration.services.ports import LOOPBACK

USER = "admin"
MARKER = "MODELRAIL_SERVICES"
"""Environment variable that every process started here inherits; its value is the state folder."""

_PRELOAD = '''"""Imported by every Airflow process. Written by Modelrail; changes are overwritten."""

import sys

from pipeline.orchestration.services.metadata import create_metadata_engine  # noqa: F401: Airflow takes it from here

# LocalExecutor forks its workers from the scheduler: what is imported here costs their tasks nothing. Modelrail's own
# code is dropped again in a fork when a file of it has changed. Import only: threads don't survive a fork.
if "scheduler" in sys.argv:
    import importlib

    for name in {modules!r}:
        try:
            importlib.import_module(name)
        except ImportError:
            pass  # the task that needs it says so
    from pipeline.orchestration.preloading import preload

    preload()
'''

PRELOADED = (
    "pandas",
    "pyarrow.parquet",
    "pandera.pandas",
    "sklearn.ensemble",
    "sklearn.pipeline",
    "mlflow",
    "mlflow.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
    "onnx",
    "onnxruntime",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "ruamel.yaml",
    "httpx",
    "jinja2.ext",
    "airflow.dag_processing.dagbag",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
)


@dataclass(frozen=True)
class Places:
    """Folders and ports that the settings are made of.

    Attributes
    ----------
    state : Path
        Folder of all local state.
    project : Path
        Folder that holds ``dags/`` and ``plugins/``.
    models : Path
        Folder of the specs.
    airflow_port, mlflow_port : int
        Ports on loopback.
    """

    state: Path
    project: Path
    models: Path
    airflow_port: int
    mlflow_port: int

    @property
    def airflow_home(self) -> Path:
        """Folder of Airflow's own state."""
        return self.state / "airflow"

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's UI and REST API."""
        return f"http://{LOOPBACK}:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        """Address of MLflow's UI."""
        return f"http://{LOOPBACK}:{self.mlflow_port}"


def make_environment(places: Places) -> dict[str, str]:
    """Build the whole environment of the processes: this process's own, overlaid with the settings."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW__")}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return inherited | {"PATH": path} | _common(places) | _airflow(places) | _airflow_secrets(places.airflow_home)


def _common(places: Places) -> dict[str, str]:
    return {
        MARKER: str(places.state),
        "SPT_NOENV": "1",  # else Airflow's process titles overwrite the environment, and the marker with it
        "MODELRAIL_HOME": str(places.state),
        "MODELRAIL_MODELS": str(places.models),
        "MODELRAIL_MLFLOW_URL": places.mlflow_url,
        "MLFLOW_TRACKING_URI": tracking_address(places.state),
        # the UI is told by the environment too: there may be a password in it, and everybody can read arguments
        "MLFLOW_BACKEND_STORE_URI": tracking_address(places.state),
        "MLFLOW_ARTIFACTS_DESTINATION": str(places.state / "mlartifacts"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "DO_NOT_TRACK": "true",
        "GOMP_SPINCOUNT": "1000",  # as in pipeline.steps.train, for scikit-learn is imported before that
        "PYTHONUNBUFFERED": "1",
    }


def _airflow(places: Places) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(places.airflow_home),
        "AIRFLOW__CORE__AUTH_MANAGER": (
            "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
        ),
        "AIRFLOW__CORE__DAGS_FOLDER": str(places.project / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(places.project / "plugins"),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{places.airflow_url}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PARALLELISM": "4",
        # the start has made the database; else every part reads all migrations first
        "AIRFLOW__DATABASE__CHECK_MIGRATIONS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(_passwords_file(places.airflow_home)),
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(places.airflow_port),
        "AIRFLOW__API__BASE_URL": places.airflow_url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__INSTANCE_NAME": "Modelrail",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
        # how long a worker may miss, now and then, that its task has ended; seconds, 5 by default
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # after how many silent seconds a task counts as killed and is tried again: 300 by default, long on one machine,
        # where all is killed at once and the next start waits for it; tasks report every second
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def _airflow_secrets(airflow_home: Path) -> dict[str, str]:
    return {
        "AIRFLOW__API_AUTH__JWT_SECRET": _keep_secret(airflow_home / "jwt_secret"),
        "AIRFLOW__API__SECRET_KEY": _keep_secret(airflow_home / "api_secret_key"),
    }


def prepare_airflow_home(airflow_home: Path) -> None:
    """Make Airflow's folder (for this user only) with the login, the secrets and what the scheduler imports early."""
    (airflow_home / "config").mkdir(parents=True, exist_ok=True)
    airflow_home.chmod(0o700)
    (airflow_home / "config" / "airflow_local_settings.py").write_text(_PRELOAD.format(modules=PRELOADED))
    passwords = _passwords_file(airflow_home)
    if not _read_passwords(passwords).get(USER):
        _write_private(passwords, json.dumps({USER: secrets.token_urlsafe(12)}) + "\n")
    _airflow_secrets(airflow_home)


def read_password(airflow_home: Path) -> str:
    """Read the password of the login."""
    return _read_passwords(_passwords_file(airflow_home)).get(USER, "")


def _passwords_file(airflow_home: Path) -> Path:
    return airflow_home / "passwords.json"


def _read_passwords(file: Path) -> Mapping[str, str]:
    try:
        return dict(json.loads(file.read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _keep_secret(file: Path) -> str:
    """Read the secret in this file; the first call makes it."""
    if not file.exists() or not file.read_text().strip():
        _write_private(file, secrets.token_urlsafe(48) + "\n")
    return file.read_text().strip()


def _write_private(file: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        opened.write(text)
    scratch.replace(file)
