"""What the tests share: a Git repository of their own, and no trace of the user's settings."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.extras import install_command, is_installed
from tests.databases import Databases, share
from tests.leftovers import pytest_sessionfinish  # noqa: F401 - pytest calls it

Commit = Callable[..., str]


@pytest.hookimpl(tryfirst=True)  # before the workers look at groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share a fixture of their file or folder on one worker; any other goes to whoever is free."""
    for item in items:
        if group := _find_group(item):
            item.add_marker(pytest.mark.xdist_group(group))


def _find_group(item: pytest.Item) -> str | None:
    known: Mapping[str, Sequence[pytest.FixtureDef[Any]]] = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    shared = {each[-1].scope: each[-1].baseid for each in known.values()}
    file = item.nodeid.split("::")[0] if "module" in shared else None
    return shared.get("package") or file


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose extra is not installed, with the command that installs it."""
    for extra in [name for mark in item.iter_markers("extra") for name in mark.args]:
        if not is_installed(extra):
            pytest.skip(f"needs the extra '{extra}': {install_command(extra)}")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder as a user of its own, and give what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=_without_system()).stdout


def _without_system() -> dict[str, str]:
    """Build the variables of the tests' own commands: what a machine's settings say is for what is tested."""
    return os.environ | {"GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the user's Git configuration and Modelrail's addresses out of the tests."""
    for name in [name for name in os.environ if name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Return the databases of MLflow and Airflow that are made once for all tests."""
    return share(tmp_path_factory)


@pytest.fixture(scope="session")
def tracking(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return one MLflow database to all tests that do not look at it."""
    return databases.copy_mlflow(tmp_path_factory.mktemp("mlflow") / "mlflow.db")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return an empty Git repository."""
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


@pytest.fixture
def live_project(project: Path, tracking: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the project as the current folder; its runs are recorded, and what they deploy is stopped afterwards."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    monkeypatch.chdir(project)
    yield project
    stop_all(project / ".modelrail")


@pytest.fixture
def commit(project: Path) -> Commit:
    """Return a function that writes files (path → content) into the project, commits them, and gives the id."""

    def make(files: dict[str, str | bytes] | None = None, subject: str = "change") -> str:
        for path, content in (files or {}).items():
            target = project / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(project, "add", "-A")
        git(project, "commit", "-q", "--allow-empty", "-m", subject)
        return git(project, "rev-parse", "HEAD").strip()

    return make
