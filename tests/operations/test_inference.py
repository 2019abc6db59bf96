"""What is inferred of a model's data is shown, and what is doubtful."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.conftest import Commit

SPEC = """
model: {name: m, trainer: ridge, task: regression, target: y}
data: {files: "data/{month}.csv", columns: {y: int}, extra_columns: infer}
"""
ROWS = "".join(f"{row}.5,0{row},{row}\n" for row in range(1, 10))


@pytest.fixture
def spec(project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    data: dict[str, str | bytes] = {"data/2013-01.csv": "x\nold\n", "data/2013-02.csv": f"x,zip,y\n{ROWS}much,10,4\n"}
    commit({"models/m.yaml": SPEC, **data})
    return project / "models/m.yaml"


def test_types_and_doubts_of_the_newest_partition_are_shown(spec: Path) -> None:
    told = CliRunner().invoke(app, ["check", str(spec), "--infer", "--json"])
    assert told.exit_code == 0, told.output
    (found,) = json.loads(told.stdout)
    assert (found["model"], found["partition"]) == ("m", "2013-02")
    assert found["columns"] == [
        {"name": "y", "type": "int", "declared": True},
        {"name": "x", "type": "str", "declared": False},
        {"name": "zip", "type": "str", "declared": False},
    ]
    zeros, word = sorted(found["doubts"], reverse=True)
    assert zeros.startswith("'zip': found leading zeros, such as '01'")
    assert "9 of 10 values are numbers and 1 not ('much' in row 10)" in word
    assert "data.missing_values: [much]" in word


def test_people_see_a_line_a_column_and_then_the_doubts(spec: Path) -> None:
    lines = CliRunner().invoke(app, ["check", str(spec), "--infer"]).stdout.splitlines()
    assert lines[0] == "m, partition 2013-02"
    assert [line.split() for line in lines[2:5]] == [
        ["y", "int", "the", "spec"],
        ["x", "str", "inferred"],
        ["zip", "str", "inferred"],
    ]
    assert "doubtful: 'zip': found leading zeros" in " ".join(lines)
    assert lines[-1] == "1 spec: all is well"


def test_a_mistake_comes_before_any_data_are_read(spec: Path) -> None:
    spec.write_text(SPEC.replace("ridge", "rigde"))
    told = CliRunner().invoke(app, ["check", str(spec), "--infer"])
    assert told.exit_code == 2
    assert "did you mean 'ridge'?" in told.stdout
    assert "partition" not in told.stdout
