"""A training that is killed goes on in the next run, from what the store has of it."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.home import CHECKOUT
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from tests.conftest import Commit

pytestmark = pytest.mark.extra("torch")

SPEC = """
model:
  name: long
  trainer: torch_mlp
  params: {layers: [8], learning_rate: 0.002, epochs: 400}
deploy: {port: 0}
"""
SCRIPT = """
import sys
from pipeline.steps.train.neural import learning
learning.EVERY_S = learning._TELL_EVERY_S = 0.0
from pipeline.cli import main
sys.argv = ["modelrail", "run", "models/long.yaml"]
main()
"""


@pytest.fixture
def spec(project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.chdir(project)
    commit({"models/long.yaml": SPEC, ".gitignore": ".modelrail/\n"})
    yield project / "models/long.yaml"
    stop_all(project / ".modelrail")


def ask(database: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(database) as connection:
        return connection.execute(query).fetchall()


def test_a_run_killed_by_kill_9_while_it_trains_goes_on_in_the_next_and_leaves_no_checkpoint(
    spec: Path, project: Path, tmp_path: Path
) -> None:
    notes = project / ".modelrail/store/notes/checkpoints"
    killed = subprocess.Popen([sys.executable, "-c", SCRIPT], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 180
    while not list(notes.glob("*/*.safetensors")) and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    outcome, results = run(RunRequest(str(spec)), report=lambda _: None)
    train = next(each for each in results if each.step == "train")
    assert outcome == "released"
    assert "goes on after epoch" in train.reason
    assert not list(notes.glob("*"))
    points = "select count(distinct step), max(step) from metrics where key = 'loss' and run_uuid = "
    (run_id,) = ask(tmp_path / "mlflow.db", "select run_uuid from runs where name = 'train' and status = 'FINISHED'")
    assert ask(tmp_path / "mlflow.db", f"{points}'{run_id[0]}'") == [(400, 400)]
    statuses = {each[0] for each in ask(tmp_path / "mlflow.db", "select status from runs")}
    assert statuses == {"FINISHED", "KILLED"}
