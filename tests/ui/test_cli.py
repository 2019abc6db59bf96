"""The command line as a user and a program meet it: output, messages, exit codes."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.ui.commands.options import find_model

SPEC = "model: {name: LinearRegression, params: {epochs: 50, learning_rate: 0.5}}\ndeploy: {port: 0}\n"
COMMANDS = (
    "check",
    "schema",
    "plan",
    "run",
    "step",
    "serve",
    "predict",
    "releases",
    "promote",
    "rollback",
    "up",
    "down",
    "status",
    "images build",
    "manifests",
    "deploy",
    "example",
    "doctor",
)
Done = subprocess.CompletedProcess[str]


def modelrail(arguments: Sequence[str], folder: Path, **settings: str) -> Done:
    """Run the command line in a folder, as a program of its own."""
    command = [sys.executable, "-m", "pipeline", *arguments]
    environment = os.environ | {"COLUMNS": "200", **settings}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def told(done: Done) -> Any:
    """Return what a program reads: nothing but JSON is on standard output."""
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def make_project(folder: Path) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "models/line.yaml").write_text(SPEC)
    (folder / ".gitignore").write_text(".modelrail/\n")
    git = ["git", "-C", str(folder), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "a line"]):
        subprocess.run([*git, *command], check=True)
    return folder


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield a project whose model `modelrail run` has released, and what that command told."""
    folder = make_project(tmp_path_factory.mktemp("cli") / "project")
    done = modelrail(["run", "line", "--why", "the first", "--json"], folder)
    assert done.returncode == 0, done.stderr
    yield folder, told(done)
    stop_all(folder / ".modelrail")


def test_a_run_tells_a_program_its_outcome_and_each_step(released: tuple[Path, Mapping[str, Any]]) -> None:
    _, found = released
    assert found["outcome"] == "released"
    steps = {each["step"]: each for each in found["steps"]}
    assert list(steps) == ["clean", "transform", "normalize", "train", "evaluate", "release", "deploy", "verify"]
    assert steps["release"]["tag"] == "LinearRegression@v1.0.0"
    assert set(steps["release"]["metrics"]) == {"rmse", "mae", "r2"}
    assert steps["verify"]["address"].startswith("http://127.0.0.1:")
    assert len(steps["train"]["key"]) == 64


def test_a_plan_tells_a_program_each_step(released: tuple[Path, Mapping[str, Any]]) -> None:
    found = told(modelrail(["plan", "models/line.yaml", "--json"], released[0]))
    assert {each["action"] for each in found["steps"]} == {"reuse"}
    names = {"step", "partition", "partitions", "action", "reason", "estimate_s", "cpu_s", "peak_bytes"}
    assert set(found["steps"][0]) == names


def test_a_step_tells_a_program_what_it_did(released: tuple[Path, Mapping[str, Any]]) -> None:
    found = told(modelrail(["step", "train", "line"], released[0]))
    assert (found["step"], found["action"], found["reused"]) == ("train", "reused", 1)


def test_releases_tell_a_program_their_evidence(released: tuple[Path, Mapping[str, Any]]) -> None:
    shown = told(modelrail(["releases", "LinearRegression", "--json"], released[0]))
    (found,) = shown["releases"]
    assert (shown["model"], shown["count"], found["environments"]) == ("LinearRegression", 1, ["local"])
    assert (found["tag"], found["version"]) == ("LinearRegression@v1.0.0", "1.0.0")
    assert found["evidence"]["why"] == "the first"


def test_a_prediction_is_told_to_a_program_and_to_a_person(released: tuple[Path, Mapping[str, Any]]) -> None:
    command = ["predict", "LinearRegression", "--record", '{"x": 0.5}']
    found = told(modelrail([*command, "--json"], released[0]))
    assert found["outputs"][0] == pytest.approx(2, abs=0.5)
    assert modelrail(command, released[0]).stdout.startswith("LinearRegression v1.0.0: ")


def test_a_batch_is_scored_without_a_deployment(released: tuple[Path, Mapping[str, Any]], tmp_path: Path) -> None:
    batch, out = tmp_path / "batch.csv", tmp_path / "out.csv"
    batch.write_text("x,id\n0.5,a\nmuch,b\n")
    command = ["predict", "LinearRegression", "--batch", str(batch), "--out", str(out), "--keep", "id"]
    done = modelrail(command, released[0])
    assert done.stdout == f"{out}: 1 prediction by LinearRegression@v1.0.0, live in 'local'\n"
    beside = tmp_path / "out.rejected.csv"
    reason = "row 2: x: found 'much'; expected float (data.columns.x.type)"
    assert done.stderr.endswith(f"{beside}: 1 of 2 rows without a prediction, such as\n  {reason}\n")
    here = out.read_text()
    found = told(modelrail([*command, "--deployed", "--json"], released[0]))
    assert out.read_text() == here
    assert found.pop("why").startswith("answering at http://127.0.0.1:")
    assert found == {
        "rows": 2, "predictions": 1, "rejected": 1, "reasons": [reason], "release": "LinearRegression@v1.0.0",
        "rejected_to": str(beside),
    }  # fmt: skip


def test_a_folder_may_be_called_like_a_model(tmp_path: Path) -> None:
    folder = make_project(tmp_path / "project")
    (folder / "line").mkdir()
    assert "clean" in modelrail(["plan", "line"], folder).stdout


@pytest.mark.parametrize("name", ["line", "models/line.yaml"])
def test_a_spec_may_stand_for_its_model(released: tuple[Path, Mapping[str, Any]], name: str) -> None:
    (found,) = told(modelrail(["releases", name, "--json"], released[0]))["releases"]
    assert found["tag"] == "LinearRegression@v1.0.0"
    assert modelrail(["predict", name], released[0]).stdout.startswith("LinearRegression v1.0.0: ")
    refused = modelrail(["rollback", name, "--why", "a try"], released[0])
    assert "LinearRegression" in refused.stderr


def test_a_model_comes_before_a_spec_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_project(tmp_path / "project")
    monkeypatch.chdir(folder)
    (folder / "models/other.yaml").write_text("model: {name: line}\n")
    (folder / "models/broken.yaml").write_text("model: {nme: [\n")
    names = ("line", "other", "models/line.yaml", "broken", "nosuch", "LinearRegression", "models")
    assert [find_model(each) for each in names] == [
        "line", "line", "LinearRegression", "broken", "nosuch", "LinearRegression", "models"
    ]  # fmt: skip


def test_one_thing_is_not_called_many(released: tuple[Path, Mapping[str, Any]]) -> None:
    assert modelrail(["check"], released[0]).stdout == "1 spec: all is well\n"
    assert "1 partition at" in modelrail(["plan", "line"], released[0]).stdout


def test_the_status_lists_what_is_live(released: tuple[Path, Mapping[str, Any]]) -> None:
    found = told(modelrail(["status", "--json"], released[0]))
    assert found["services"] is None
    assert [each["model"] for each in found["deployments"]] == ["LinearRegression"]


@pytest.mark.parametrize("command", [["check"], ["plan", "line"], ["releases", "LinearRegression"], ["status"]])
def test_what_people_read_fits_a_narrow_pipe(released: tuple[Path, Mapping[str, Any]], command: list[str]) -> None:
    done = modelrail(command, released[0], COLUMNS="40")
    assert done.returncode == 0
    assert done.stdout
    assert done.stderr == ""


def test_every_command_shows_an_example_in_its_help(tmp_path: Path) -> None:
    for name in COMMANDS:
        done = modelrail([*name.split(), "--help"], tmp_path)
        assert done.returncode == 0
        assert f"Example: modelrail {name}" in done.stdout
        assert "Exit codes: 0 done, 1 failed, 2 wrong input, 75 try again." in done.stdout


OUTSIDE: list[tuple[str, int, str]] = [
    ("check", 2, "found no spec; expected one"),
    ("plan line", 2, "line: found no such file; expected the path of a YAML file"),
    ("run line.yaml", 2, "line.yaml: found no such file"),
    ("step train line", 2, "line: found no such file"),
    ("plan", 2, "models: found no spec; expected one such as models/my-model.yaml"),
    ("serve m", 2, "found no Git repository; expected one"),
    ("releases m", 2, "found no Git repository; expected one"),
    ("predict m", 2, "found no live deployment of 'm'; expected one"),
    ("example bikes somewhere", 2, "found the example 'bikes'; expected one of breast-cancer, credit"),
    ("chek", 2, "Did you mean 'check'"),
    ("plan line --enviroment prod", 2, "--environment"),
    ("run line --as-of", 2, "requires an argument"),
    ("up --run", 2, "--run: found no spec; expected one"),
]


@pytest.mark.parametrize(("command", "code", "message"), OUTSIDE, ids=[each[0] for each in OUTSIDE])
def test_wrong_input_is_told_by_code_2_and_a_sentence(tmp_path: Path, command: str, code: int, message: str) -> None:
    done = modelrail(command.split(), tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


WRONG: list[tuple[list[str], int, str]] = [
    (["step", "trane", "line"], 2, "found the step 'trane'; expected one of clean,"),
    (["plan", "line", "--data-commit", "nope"], 2, "data commit: found 'nope'; expected none"),
    (["plan", "line", "--as-of", "tomorrow"], 2, "as-of: found 'tomorrow'; expected a date"),
    (["run", "line", "--environment", "nope"], 2, "environment: found 'nope'; expected a file environments/NAME.yaml"),
    (["serve", "LinearRegression@v9.9.9"], 2, "found no release LinearRegression@v9.9.9; expected one of v1.0.0"),
    (["serve", "LinearRegression@newest"], 2, "found the version 'newest'; expected one such as v1.2.3"),
    (["serve", "nope"], 2, "found no release of 'nope'"),
    (["predict", "LinearRegression", "--record", "{"], 2, "--record: found no JSON"),
    (["predict", "LinearRegression", "--record", '{"z": 1}'], 1, "'z'"),
    (["predict", "LinearRegression", "--record", '"x"'], 2, "--record: found"),
    (["predict", "LinearRegression", "--batch", "b.csv"], 2, "expected --batch and --out"),
    (["predict", "LinearRegression@v9.9.9", "--batch", "b.csv", "--out", "o.csv"], 2, "expected one of v1.0.0"),
    (["predict", "LinearRegression", "--batch", "none.csv", "--out", "o.csv"], 2, "none.csv: found no such file"),
    (["predict", "../m"], 2, "found no live deployment of '../m'"),
]


@pytest.mark.parametrize(("command", "code", "message"), WRONG, ids=[" ".join(each[0]) for each in WRONG])
def test_wrong_input_in_a_project_is_told_by_a_code_and_a_sentence(
    released: tuple[Path, Mapping[str, Any]], command: list[str], code: int, message: str
) -> None:
    done = modelrail(command, released[0])
    assert "Traceback" not in done.stderr
    assert message in done.stderr
    assert done.returncode == code


def test_a_release_that_was_never_made_is_an_empty_list(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project / "models/new.yaml").write_text("model: {name: new}\nenvironment: {platform: Local}\n")
    assert told(modelrail(["releases", "new", "--json"], project))["releases"] == []


@pytest.mark.parametrize("name", ["nope", "Linear*", "/somewhere", "..", "", "[", "LinearRegression@v1.0.0"])
def test_what_is_no_models_name_has_no_releases(released: tuple[Path, Mapping[str, Any]], name: str) -> None:
    done = modelrail(["releases", name, "--json"], released[0])
    assert (done.returncode, done.stdout) == (2, "")
    assert f"found no model '{name}'; expected one of 'LinearRegression'" in done.stderr


def test_every_problem_of_every_spec_is_told_to_a_program(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    (project / "models/bad.yaml").write_text("model: {name: x, trainer: ridgee}\nevalute: {}\n")
    done = modelrail(["check", "--json"], project)
    assert done.returncode == 2
    found = told(done)
    assert {each["where"] for each in found} == {"model.trainer", "evalute"}
    assert {"file", "line", "column", "where", "found", "expected"} == set(found[0])


def test_a_locked_mlflow_database_is_code_75(released: tuple[Path, Mapping[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("create table t (x)")
        database.commit()
        database.execute("begin exclusive")
        command = ["run", "line", "--force"]
        done = modelrail(command, released[0], MLFLOW_TRACKING_URI=f"sqlite:///{path}")
        database.rollback()
    assert done.returncode == 75
    assert "run again" in done.stderr


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pipeline schema | head -c 1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S602
    assert done.stdout == "{"
    assert done.stderr == ""


def test_a_state_folder_that_cannot_be_written_is_told_without_a_traceback(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    done = modelrail(["run", "line"], project, MODELRAIL_HOME="/proc/home", MODELRAIL_STORE=str(tmp_path / "store"))
    assert done.returncode == 1
    assert "/proc/home" in done.stderr
    assert "Traceback" not in done.stderr


def test_values_that_look_like_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    rows = "\n".join(f"{number},[/bold],{2 * number}" for number in range(120))
    (project / "data").mkdir()
    (project / "data/[red].csv").write_text(f"x,c,y\n{rows}\n")
    model, data = "{name: m, trainer: least_squares, target: y}", "{files: 'data/{part}.csv'}"
    (project / "models/m.yaml").write_text(f"model: {model}\ndata: {data}\ndeploy: {{port: 0}}\n")
    for command in (["add", "-A"], ["commit", "-q", "-m", "markup"]):
        git = ["git", "-C", str(project), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
        subprocess.run([*git, *command], check=True)
    assert "[red]" in modelrail(["plan", "m"], project).stdout
    try:
        done = modelrail(["run", "m"], project)
        assert done.returncode == 0, done.stderr
        assert "'c': '[/bold]'" in done.stdout
    finally:
        stop_all(project / ".modelrail")
