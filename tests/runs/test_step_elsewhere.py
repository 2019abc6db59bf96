"""Steps done elsewhere: a process of its own that knows nothing but its command, the store and MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.runs.job import open_job
from pipeline.runs.opened_run import OpenedRun
from pipeline.runs.plan.recipes import method_digests
from pipeline.runs.pods.step_pod import step_command as words_of
from pipeline.runs.request import RunRequest
from pipeline.runs.running import open_run, run_step
from pipeline.runs.step_elsewhere import forget, is_there, result_of
from pipeline.storage.git.mirrors import check_out
from tests.conftest import Commit
from tests.runs.test_running import SPEC, month


@pytest.fixture
def opened(project: Path, commit: Commit, tracking: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenedRun:
    """Open a run of three months, with a store that both sides reach."""
    monkeypatch.setenv("MODELRAIL_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    files: dict[str, str | bytes] = {f"data/2013-{number:02}.csv": month(number) for number in (1, 2, 3)}
    commit({"models/late.yaml": SPEC, ".gitignore": ".modelrail/\n", **files})
    return make(project)


def make(project: Path) -> OpenedRun:
    request = RunRequest(str(project / "models/late.yaml"))
    spec = open_job(request).spec
    return replace(open_run(request), repository=f"file://{project}", methods=method_digests(spec))


def send(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as another machine would: in a folder of its own, with a state of its own."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"MODELRAIL_HOME": str(folder / "state")}
    command = [sys.executable, "-m", "pipeline", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_steps_done_elsewhere_are_found_here_with_their_results(opened: OpenedRun, tmp_path: Path) -> None:
    done = send(words_of(opened, ["clean", "transform", "normalize"], None, 2), tmp_path / "pod")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("clean: ran in ")
    results = {step: result_of(opened, step, None) for step in ("clean", "transform", "normalize")}
    assert {step: result and result.ran for step, result in results.items()} == {
        "clean": 3,
        "transform": 3,
        "normalize": 1,
    }
    assert all(is_there(opened, step, None) for step in results)
    assert not is_there(opened, "train", None)
    assert run_step("normalize", opened).action == "reused"
    forget(opened)
    assert result_of(opened, "normalize", None) is None
    assert is_there(opened, "normalize", None)


def test_a_batch_is_done_elsewhere_by_itself(opened: OpenedRun, tmp_path: Path) -> None:
    done = send(words_of(opened, ["clean"], ["2013-01", "2013-03"], 1), tmp_path / "pod")
    assert done.returncode == 0, done.stderr
    result = result_of(opened, "clean", ["2013-01", "2013-03"])
    assert result is not None
    assert result.ran == 2
    assert is_there(opened, "clean", ["2013-03"])
    assert not is_there(opened, "clean", ["2013-02"])


def test_what_elsewhere_cannot_be_done_ends_with_its_own_message_and_exit_code(
    opened: OpenedRun, tmp_path: Path
) -> None:
    done = send(words_of(opened, ["train"], None, 1), tmp_path / "pod")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("modelrail: train: the input of this step is not there")


def test_a_later_step_that_fails_is_left_to_its_own_task(opened: OpenedRun, tmp_path: Path) -> None:
    done = send(words_of(opened, ["clean", "train"], None, 1), tmp_path / "pod")
    assert done.returncode == 0, done.stderr
    assert "train: left to its own task: " in done.stdout
    assert result_of(opened, "clean", None) is not None
    assert result_of(opened, "train", None) is None


def test_another_commit_than_the_newest_is_what_was_planned(
    opened: OpenedRun, project: Path, commit: Commit, tmp_path: Path
) -> None:
    commit({"models/late.yaml": SPEC + "tasks: {retries: 0}\n", "data/2013-04.csv": month(4)})
    done = send(words_of(opened, ["clean"], None, 1), tmp_path / "pod")
    assert done.returncode == 0, done.stderr
    result = result_of(opened, "clean", None)
    assert result is not None
    assert result.ran == 3


def test_other_code_than_where_the_run_was_planned_is_refused(opened: OpenedRun, tmp_path: Path) -> None:
    other = replace(opened, methods={**opened.methods, "train": "0" * 16})
    done = send(words_of(other, ["clean"], None, 1), tmp_path / "pod")
    assert done.returncode == 2
    assert "train: found other code or libraries" in done.stderr
    assert "run.image" in done.stderr


def test_a_commit_that_was_not_pushed_is_said(project: Path, commit: Commit, tmp_path: Path) -> None:
    commit({"a": "a"})
    with pytest.raises(InputError, match=r"found no commit 0000.*; expected it pushed there: 'git push'"):
        check_out(f"file://{project}", "0" * 40, tmp_path)


def test_a_commit_made_after_the_first_clone_is_fetched(project: Path, commit: Commit, tmp_path: Path) -> None:
    first = commit({"a": "1"})
    assert (check_out(f"file://{project}", first, tmp_path) / "a").read_text() == "1"
    second = commit({"a": "2"})
    assert (check_out(f"file://{project}", second, tmp_path) / "a").read_text() == "2"
    assert (check_out(f"file://{project}", first, tmp_path) / "a").read_text() == "1"


def test_a_step_elsewhere_needs_to_know_where_the_spec_is(opened: OpenedRun, tmp_path: Path) -> None:
    done = send(["step", "clean", "models/late.yaml", "--opened", json.dumps({})], tmp_path / "pod")
    assert done.returncode == 2
    assert "found --opened by itself; expected --repository and --commit" in done.stderr


@pytest.mark.parametrize("words", [["--trial", "1"], ["--rows", "9"], ["--trial", "1", "--rows", "9"]])
def test_a_trial_is_fitted_only_for_somebody_who_searches(tmp_path: Path, words: list[str]) -> None:
    done = send(["step", "train", "models/late.yaml", *words], tmp_path / "pod")
    assert done.returncode == 2
    assert "found --trial or --rows by itself; expected both, with --opened" in done.stderr
