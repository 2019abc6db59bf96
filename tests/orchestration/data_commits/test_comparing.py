"""What differs between two data commits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.operations.data_comparison import Column, Difference, compare
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from tests.conftest import Commit

SPEC = """
model: {name: m, trainer: ridge, target: y}
data: {files: "data/{month}.csv", columns: {x: float, y: float, carrier: str, at: datetime}}
"""
HEAD = "x,y,carrier,at\n"
JANUARY = HEAD + "1,1,UA,2013-01-01\n2,2,AA,2013-01-02\n3,3,UA,2013-01-03\n"


@pytest.fixture
def spec(project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commit a spec and two months."""
    monkeypatch.chdir(project)
    february = JANUARY.replace("2013-01-", "2013-02-")
    commit({"models/m.yaml": SPEC, "data/2013-01.csv": JANUARY, "data/2013-02.csv": february})
    return project / "models/m.yaml"


def difference(spec: Path, before: str = "HEAD~1", after: str = "HEAD") -> Difference:
    return compare(*(open_job(RunRequest(str(spec), data_commit=each)) for each in (before, after)))


def columns(found: Difference) -> dict[str, Column]:
    return {each.name: each for each in found.columns}


def test_partitions_that_came_changed_and_went_are_told_with_their_rows(spec: Path, commit: Commit) -> None:
    (spec.parents[1] / "data/2013-02.csv").unlink()
    commit({"data/2013-01.csv": JANUARY + "4,4,UA,2013-01-04\n", "data/2013-03.csv": JANUARY})
    found = [(each.key, each.kind, each.rows_before, each.rows_after) for each in difference(spec).partitions]
    assert found == [("2013-01", "changed", 3, 4), ("2013-02", "removed", 3, None), ("2013-03", "added", None, 3)]


def test_what_did_not_change_is_counted_and_not_shown(spec: Path, commit: Commit) -> None:
    commit({"notes.txt": "of no concern"})
    found = difference(spec)
    assert (found.partitions, found.columns, found.unchanged) == ((), (), 2)


def test_a_column_says_what_moved_and_the_others_keep_quiet(spec: Path, commit: Commit) -> None:
    commit({"data/2013-01.csv": JANUARY.replace("3,3,UA", "12,3,DL")})
    found = columns(difference(spec))
    assert set(found) == {"x", "carrier"}
    assert (found["x"].before["mean"], found["x"].after["mean"]) == (2.0, 5.0)
    assert (found["x"].before["high"], found["x"].after["high"]) == (3.0, 12.0)
    assert (found["carrier"].new, found["carrier"].gone) == (("DL",), ())


def test_missing_values_and_times_move_too(spec: Path, commit: Commit) -> None:
    commit({"data/2013-01.csv": JANUARY.replace("2,2,AA,2013-01-02", ",2,,2013-01-30")})
    found = columns(difference(spec))
    assert found["x"].after["missing_share"] == pytest.approx(1 / 3)
    assert found["carrier"].after["missing_share"] == pytest.approx(1 / 3)
    assert found["carrier"].gone == ("AA",)
    assert found["at"].after["high"] - found["at"].before["high"] == 27 * 24 * 3600


def test_rows_in_another_order_differ_in_nothing_but_the_file(spec: Path, commit: Commit) -> None:
    commit({"data/2013-01.csv": HEAD + "".join(reversed(JANUARY.splitlines(keepends=True)[1:]))})
    found = difference(spec)
    assert [each.kind for each in found.partitions] == ["changed"]
    assert found.columns == ()


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_compared(spec: Path, commit: Commit) -> None:
    broken = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n"
    commit({"data/2013-01.csv": broken, "data/2013-03.csv": JANUARY})
    first, second = difference(spec).partitions
    assert (first.rows_before, first.rows_after, second.rows_after) == (3, None, 3)
    assert "after: " in first.trouble
    assert "Git LFS pointer" in first.trouble


def test_the_command_prints_a_table_and_a_document(spec: Path, commit: Commit) -> None:
    commit({"data/2013-01.csv": JANUARY.replace("3,3,UA", "12,3,DL")})
    shown = CliRunner().invoke(app, ["data", "diff", "HEAD~1", "HEAD"])
    assert shown.exit_code == 0, shown.output
    assert "2013-01" in shown.output
    assert "DL" in shown.output
    document = CliRunner().invoke(app, ["data", "diff", "HEAD~1", "HEAD", str(spec), "--json"])
    assert json.loads(document.output)["partitions"][0]["key"] == "2013-01"
