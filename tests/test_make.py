"""The Makefile, where it decides something."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.home import CHECKOUT


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["python3.13", "python3.12"], "python3.12"),
        (["python3", "python3.13"], "python3.13"),
        (["python3"], "python3"),
        (["python3.11", "python3"], "python3.11"),
    ],
)
def test_set_up_takes_the_oldest_python_that_is_there_and_will_do(there: list[str], taken: str, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in there:
        (programs / name).symlink_to(sys.executable)
    make = shutil.which("make")
    assert make is not None
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(CHECKOUT / name, tmp_path)
    path = {"PATH": str(programs)}
    commands = subprocess.check_output([make, "--dry-run", "setup"], cwd=tmp_path, env=path, text=True)
    assert f"{programs / taken} -m venv .venv" in commands
