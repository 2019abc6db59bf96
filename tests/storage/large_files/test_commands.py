"""Commands on data behind pointers: a plan needs only the pointers, a step the content, a difference both sides'."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.conftest import git
from tests.storage.large_files.conftest import Data, dvc_pointer, lfs_pointer, month, put


@pytest.fixture
def commits(data: Data, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Commit a spec; a month as a pointer of DVC and one as a file; then another content and an LFS pointer."""
    data.spec()
    git(data.project, "add", "-A")
    git(data.project, "commit", "-q", "-m", "spec")
    monkeypatch.chdir(data.project)
    plain = {"flights/2013-02.csv": month(2).decode()}
    first = data.commit({"flights/2013-01.csv.dvc": dvc_pointer(month(1), "2013-01.csv")} | plain | data.with_remote())
    second = data.commit(
        {
            "flights/2013-01.csv.dvc": dvc_pointer(month(11), "2013-01.csv"),
            "flights/2013-03.csv": lfs_pointer(month(3)),
        }
    )
    return [first, second]


def ask(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    said = result.output + str(result.exception or "")
    assert (result.exit_code == code) or (code and result.exception), said
    return said


def test_a_plan_needs_no_content(data: Data, commits: list[str]) -> None:
    planned = json.loads(ask("plan", "m", "--json"))
    assert "2013-03" in json.dumps(planned)
    assert not (data.project / ".modelrail" / "cache").exists()


def test_a_step_names_the_content_that_is_missing_and_runs_once_it_is_there(data: Data, commits: list[str]) -> None:
    assert "found no content md5" in ask("step", "clean", "m", "--partition", "2013-01", code=1)
    put(data.remote, month(11))
    ask("step", "clean", "m", "--partition", "2013-01")


def test_a_difference_is_told_of_what_pointers_stand_for(data: Data, commits: list[str]) -> None:
    put(data.remote, month(1))
    put(data.remote, month(11))
    found = json.loads(ask("data", "diff", *commits, "m", "--json"))
    told = [(each["key"], each["kind"], each["rows_before"], each["rows_after"]) for each in found["partitions"]]
    assert told == [("2013-01", "changed", 1, 1), ("2013-03", "added", None, None)]
    assert "2013-03.csv: found no content sha256" in found["partitions"][1]["trouble"]
    assert found["columns"][0]["before"]["mean"] == 1
