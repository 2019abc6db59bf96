"""A model's story, with real runs: three releases in two environments, their data in another repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.delivery.promotion import promote, rollback
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from tests.databases import Databases

ANN, BOB = "Ann <ann@example.org>", "Bob <bob@example.org>"
SPEC = """
model: {name: line, trainer: ridge, target: y}
data: {repository: ../data, files: "parts/{month}.csv", columns: {x: float, z: float, y: float}}
evaluate: {metrics: [rmse, r2], gate: {rmse: {at_most: 5}}, bootstrap: 30}
deploy: {port: 0}
"""
NEWER = SPEC + 'normalize: {z: min_max, "*": standard}\n'


def table(slope: float, rows: int = 400, noise: float = 0.1) -> str:
    rows_of = (f"{x / 10},{(x * 7) % 13},{slope * x / 10 + 1 + noise * (-1) ** x}\n" for x in range(rows))
    return "x,z,y\n" + "".join(rows_of)


@dataclass
class Story:
    """Where it happened, and the ids of its commits by the name of what they did."""

    folder: Path
    commits: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def commit(self, name: str, folder: Path, files: dict[str, str], who: str = ANN, body: str = "") -> str:
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        as_person(folder, who, "add", "-A")
        as_person(folder, who, "commit", "-q", "-m", name, *(["-m", body] if body else []))
        self.commits[name] = as_person(folder, who, "rev-parse", "HEAD").strip()
        return self.commits[name]

    def run(self, **changes: str) -> None:
        run(RunRequest(str(self.project / "models/line.yaml"), **changes), report=lambda _: None)


def as_person(folder: Path, who: str, *arguments: str) -> str:
    """Run git as somebody."""
    name, _, address = who.removesuffix(">").partition(" <")
    person = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER")
              for key, value in (("NAME", name), ("EMAIL", address))}  # fmt: skip
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | person).stdout


@contextmanager
def own_settings(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Keep the user's settings out, as for every test, and for longer."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MODELRAIL_", "MLFLOW_", "GIT_"))]:
            patch.delenv(name)
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.chdir(folder)
        yield patch


@pytest.fixture(scope="package")
def story(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Release three times: the first, on more data, with another spec; promote and roll back in prod."""
    told = Story(tmp_path_factory.mktemp("story"))
    databases.copy_mlflow(told.project / ".modelrail/mlflow.db")
    with own_settings(told.folder):
        try:
            tell(told)
            yield told
        finally:
            stop_all(told.project / ".modelrail")


def tell(told: Story) -> None:
    for each in (told.project, told.data):
        subprocess.run(["git", "init", "-q", "-b", "main", str(each)], check=True)
    told.commit("January", told.data, {"parts/2024-01.csv": table(2)}, BOB)
    files = {"models/line.yaml": SPEC, "environments/prod.yaml": "evaluate: {gate: {rmse: {at_most: 4}}}\n",
             "environments/dev.yaml": "deploy: {workers: 2}\n", ".gitignore": ".modelrail/\n"}  # fmt: skip
    told.commit("A line", told.project, files)
    told.run(reason="the first")
    told.run(environment="prod")
    told.commit("Notes", told.data, {"README.md": "Two months\n"}, BOB)
    told.commit("February", told.data, {"parts/2024-02.csv": table(2.02)}, BOB)
    told.run(reason="a new month")
    told.commit("Scale z", told.project, {"models/line.yaml": NEWER})
    told.run(reason="z is scaled")
    promote("line", "v1.1.0", "prod", why="better", who=ANN, root=told.project)
    rollback("line", None, "prod", why="not better", who=BOB, root=told.project)


@pytest.fixture
def at_project(story: Story, monkeypatch: pytest.MonkeyPatch) -> Story:
    """Stand in the project."""
    monkeypatch.chdir(story.project)
    return story
