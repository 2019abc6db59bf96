from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.conftest import Commit

SPEC = 'model: {name: m, trainer: ridge, target: y}\ndata: {files: "data/{part}.csv", columns: {x: float, y: float}}\n'


@pytest.fixture
def specs(project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    commit({"models/m.yaml": SPEC, "models/n.yaml": SPEC.replace("name: m", "name: n"), "data/a|b.csv": "x,y\n1,2\n"})
    return project


def test_without_a_spec_all_are_planned(specs: Path) -> None:
    told = CliRunner().invoke(app, ["plan", "--json"])
    assert told.exit_code == 0
    assert [each["model"] for each in json.loads(told.stdout)] == ["m", "n"]
    assert json.loads(CliRunner().invoke(app, ["plan", "m", "--json"]).stdout)["estimate"]["unknown"] == 5


def test_the_detailed_exit_code_tells_work_from_an_error(specs: Path) -> None:
    assert CliRunner().invoke(app, ["plan", "m", "--detailed-exitcode"]).exit_code == 2
    assert CliRunner().invoke(app, ["plan", "m", "--detailed-exitcode", "--as-of", "soon"]).exit_code == 1
    assert CliRunner().invoke(app, ["plan", "m", "--as-of", "soon"]).exit_code == 2


def test_a_broken_spec_does_not_hide_the_plans_of_the_others(specs: Path) -> None:
    (specs / "models/m.yaml").write_text("model: {nme: m}\n")
    told = CliRunner().invoke(app, ["plan", "--json"])
    assert told.exit_code == 2
    assert "models/m.yaml:1" in told.stderr
    assert [each["model"] for each in json.loads(told.stdout)] == ["n"]


def test_markdown_cannot_be_broken_by_a_name(specs: Path) -> None:
    told = CliRunner().invoke(app, ["plan", "m", "--markdown"]).stdout
    assert "### m\n\n**5 to do**, 0 reused (1 partition at" in told
    assert "| run | clean | a\\|b | it never ran here |" in told
