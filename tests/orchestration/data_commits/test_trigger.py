"""The trigger that Airflow's triggerer runs, on a real repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.home import CHECKOUT
from tests.conftest import git

PROBE = Path(__file__).with_name("trigger_probe.py")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Watch a repository through two commits, its disappearance, a third commit and its return."""
    folder = tmp_path_factory.mktemp("trigger")
    (folder / "flights").mkdir()
    git(folder / "flights", "init", "-q", "-b", "main")
    paths = os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "plugins")])
    environment = os.environ | {"AIRFLOW_HOME": str(folder / "airflow"), "PYTHONPATH": paths}
    command = [sys.executable, str(PROBE), str(folder / "flights")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found | {"folder": str(folder / "flights")}


def test_each_push_is_one_event_and_a_repository_that_comes_back_is_seen_again(watched: dict[str, Any]) -> None:
    assert watched["seen"] == watched["made"]


def test_a_vanished_repository_is_told_once_and_so_is_its_return(watched: dict[str, Any]) -> None:
    lost, found = watched["lines"]
    assert "cannot be read, waiting for it" in lost
    assert "can be read again" in found


def test_the_trigger_can_be_made_again_elsewhere_and_holds_no_secret(watched: dict[str, Any]) -> None:
    arguments = {"address": watched["folder"], "branch": "", "connection": ""}
    assert watched["serialized"] == ["modelrail_trigger.DataCommitTrigger", arguments]
