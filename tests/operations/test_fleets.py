"""Commands on many models: Git is asked as often as for two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fleet import make_fleet

FEW, MANY = 2, 9


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
        return {count: make_fleet(tmp_path_factory.mktemp("fleet") / "project", count) for count in (FEW, MANY)}


def count_asked(project: Path, trace: Path, *command: str) -> tuple[int, str]:
    """Run a command, and count how often it has started git."""
    modelrail = Path(sys.executable).with_name("modelrail")
    done = subprocess.run(
        [modelrail, *command],
        cwd=project,
        env=os.environ | {"GIT_TRACE": str(trace), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    )
    return trace.read_text().count("trace: built-in: git "), done.stdout


@pytest.mark.parametrize("command", ["status", "plan", "gc --keep 52w --yes"])
def test_more_models_ask_git_no_more_often(command: str, fleets: dict[int, Path], tmp_path: Path) -> None:
    few, _ = count_asked(fleets[FEW], tmp_path / "few", *command.split())
    many, said = count_asked(fleets[MANY], tmp_path / "many", *command.split())
    assert (few, many) == (few, few)
    assert few < 12
    assert f"model-{MANY - 1:05d}" in said or command.startswith("gc")
