"""Several processes that meet one new MLflow database at the same time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys, time
from pathlib import Path
from pipeline.runs.tracking.events import RunOpened
from pipeline.runs.tracking.runs import Tracker
import mlflow  # so that all are ready at the same time
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
dataset = {"name": "data", "digest": "d1", "source": "here"}
tracker = Tracker(sys.argv[1], Path(sys.argv[2]), None)
tracker.record(RunOpened(model="m", name="run", tags={}, dataset=dataset))
"""


def test_runs_that_open_a_new_database_at_once_are_all_recorded(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, f"sqlite:///{tmp_path / 'mlflow.db'}", str(tmp_path / "artifacts")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for each in processes:
        assert each.stdout.readline() == "ready\n"
    for each in processes:
        each.stdin.write("go\n")
        each.stdin.flush()
    ended = [each.communicate(timeout=120) for each in processes]
    assert [each.returncode for each in processes] == [0, 0, 0, 0], ended
