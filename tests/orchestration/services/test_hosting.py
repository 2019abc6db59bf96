"""What ``make run`` does: everything up, a run through Airflow's scheduler, everything down."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.airflow

SPEC = """
model: {name: late, trainer: logistic_regression, target: late}
data:
  files: data/{month}.csv
  columns: {number: int, distance: float, delay: float}
  derive: {late: delay > 15}
evaluate: {metrics: [accuracy], bootstrap: 20}
features: {select: [distance]}
deploy: {port: 0}
"""


def find_left(state: Path) -> list[str]:
    """List the processes that belong to a state folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if process.pid == os.getpid():
            continue
        try:
            if str(state) in " ".join([*(process.info["cmdline"] or []), *process.environ().values()]):
                found.append(" ".join(process.info["cmdline"]))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_one_command_brings_everything_up_runs_the_dag_and_ctrl_c_leaves_nothing(
    project: Path, commit: Callable[..., str], tmp_path: Path
) -> None:
    rows = "\n".join(f"{row},{row * 7 % 100},{row * 7 % 100 - 40 + row % 3}" for row in range(400))
    commit(
        {"models/late.yaml": SPEC, "data/2013-01.csv": f"number,distance,delay\n{rows}\n", ".gitignore": ".modelrail/"}
    )
    state = tmp_path / "state"
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "up", "models/late.yaml", "--run"],
        cwd=project,
        env=os.environ | {"MODELRAIL_HOME": str(state), "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    told = ""
    for line in process.stdout:
        told += line
        if "Press Ctrl-C" in line:
            break
    running = find_left(state)
    process.send_signal(signal.SIGINT)
    told += process.communicate(timeout=120)[0]
    assert process.returncode == 0, told
    assert "released late@v1.0.0" in told
    assert re.search(r"accuracy +\d\.\d{4}  \[\d\.\d{4}, \d\.\d{4}\]", told), told
    assert "curl -s -X POST http://127.0.0.1:" in told
    assert re.search(r"Airflow +http://127\.0\.0\.1:\d+ +user admin, password \S{10,}", told), told
    assert any("airflow" in each for each in running)
    assert any("mlflow" in each for each in running)
    assert any("pipeline.serving" in each for each in running)
    assert find_left(state) == []
