from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pipeline.home import CHECKOUT

SOURCE = """
import subprocess, sys
def test_it(tmp_path):
    {start}
"""
COMMAND = '[sys.executable, "-c", "import time; time.sleep(300)"]'
SLEEPER = f"subprocess.Popen({COMMAND}, cwd=tmp_path, start_new_session=True)"
CONFTEST = """
from tests import leftovers
from tests.leftovers import pytest_sessionfinish
leftovers._PATIENCE_S = 0.5
"""


def run_tests(folder: Path, start: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(SOURCE.format(start=start))
    places = ["--rootdir", str(folder), "--basetemp", str(folder / "t")]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "ignore", *places, *options, str(folder)]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        command, cwd=folder, env=kept | {"PYTHONPATH": str(CHECKOUT)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "a worker"])
def test_a_process_that_a_test_leaves_behind_fails_the_run_and_is_named(tmp_path: Path, workers: list[str]) -> None:
    done = run_tests(tmp_path, SLEEPER, *workers)
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if str(tmp_path) in each.cwd():
                each.kill()
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 passed, 1 error" in done.stdout
    assert "import time" in done.stdout
    assert "started by test_it.py::test_it (call)" in done.stdout


def test_a_run_that_leaves_nothing_passes(tmp_path: Path) -> None:
    done = run_tests(tmp_path, "pass")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr
