from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.storage.git.repository import File, open_repository
from pipeline.storage.periods import last_day, up_to
from tests.conftest import Commit, git

SPEC = """
model: {name: m, trainer: ridge, target: y}
data: {REPOSITORYfiles: "data/{month}.csv", columns: {x: float, y: float}}
"""


@pytest.mark.parametrize(
    ("key", "last"),
    [
        ("2013", date(2013, 12, 31)),
        ("2013-02", date(2013, 2, 28)),
        ("2012-02", date(2012, 2, 29)),
        ("2013-02-03", date(2013, 2, 3)),
        ("20130203", date(2013, 2, 3)),
        ("eu/2013-02", date(2013, 2, 28)),
        ("2013/02", date(2013, 2, 28)),
        ("part-0001", None),
        ("2013-13", None),
        ("2013-02-30", None),
        ("123456789", None),
        ("all.csv", None),
    ],
)
def test_the_last_day_of_a_partition_is_read_from_its_key(key: str, last: date | None) -> None:
    assert last_day(key) == last


@pytest.mark.parametrize(
    ("as_of", "kept"),
    [
        (None, ["2013-01", "2013-02", "other"]),
        ("2013-02-27", ["2013-01", "other"]),
        ("2013-02-28", ["2013-01", "2013-02", "other"]),
        ("2012-12-31", ["other"]),
        ("2013-02-28T03:00:00+00:00", ["2013-01", "2013-02", "other"]),
    ],
)
def test_an_as_of_date_keeps_the_partitions_that_had_ended(as_of: str | None, kept: list[str]) -> None:
    partitions = {key: File(f"{key}.csv", "0", 1) for key in ("2013-01", "2013-02", "other")}
    assert list(up_to(partitions, as_of)) == kept


def test_a_wrong_as_of_date_is_said() -> None:
    with pytest.raises(InputError, match="as-of: found 'soon'; expected a date such as 2013-12-31"):
        up_to({}, "soon")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Return a data repository beside the project, with two commits."""
    folder = tmp_path / "flights"
    (folder / "data").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    for number in (1, 2):
        (folder / f"data/2013-0{number}.csv").write_text("x,y\n1,2\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"month {number}")
    return folder


@pytest.mark.parametrize("form", ["path", "relative path", "bare path", "URL"])
def test_data_are_found_wherever_their_repository_is(
    project: Path, commit: Commit, other: Path, tmp_path: Path, form: str
) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(other), str(tmp_path / "bare.git"))
    address = {
        "path": str(other),
        "relative path": "../flights",
        "bare path": str(tmp_path / "bare.git"),
        "URL": other.as_uri(),
    }[form]
    commit({"models/m.yaml": SPEC.replace("REPOSITORY", f"repository: '{address}', ")})
    job = open_job(RunRequest(str(project / "models/m.yaml")))
    assert list(job.partitions) == ["2013-01", "2013-02"]
    assert job.read("2013-01") == b"x,y\n1,2\n"
    assert job.data_commit == git(other, "rev-parse", "HEAD").strip()
    first = open_job(RunRequest(str(project / "models/m.yaml"), data_commit="HEAD~1"))
    assert list(first.partitions) == ["2013-01"]


def test_a_newer_commit_behind_a_url_is_seen_at_once(project: Path, commit: Commit, other: Path) -> None:
    commit({"models/m.yaml": SPEC.replace("REPOSITORY", f"repository: '{other.as_uri()}', ")})
    request = RunRequest(str(project / "models/m.yaml"))
    open_job(request)
    (other / "data/2013-03.csv").write_text("x,y\n1,2\n")
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "month 3")
    assert list(open_job(request).partitions) == ["2013-01", "2013-02", "2013-03"]


def test_a_data_repository_with_work_in_progress_is_read_at_its_commit(
    project: Path, commit: Commit, other: Path
) -> None:
    commit({"models/m.yaml": SPEC.replace("REPOSITORY", f"repository: '{other}', ")})
    (other / "data/2013-01.csv").write_text("broken")
    job = open_job(RunRequest(str(project / "models/m.yaml")))
    assert job.read("2013-01") == b"x,y\n1,2\n"
    assert job.uncommitted == ()


def test_a_template_that_fits_nothing_is_said(project: Path, commit: Commit) -> None:
    commit({"models/m.yaml": SPEC.replace("REPOSITORY", "")})
    with pytest.raises(InputError, match=r"found no file that matches 'data/\{month\}\.csv'; expected at least one"):
        open_job(RunRequest(str(project / "models/m.yaml")))


def test_the_files_that_are_not_committed_are_named(project: Path, commit: Commit) -> None:
    commit({"models/m.yaml": SPEC.replace("REPOSITORY", ""), "data/2013-01.csv": "x,y\n1,2\n"})
    request = RunRequest(str(project / "models/m.yaml"))
    assert open_job(request).uncommitted == ()
    (project / "data/2013-02.csv").write_text("x,y\n1,2\n")
    (project / "notes.txt").write_text("of no concern")
    job = open_job(request)
    assert job.uncommitted == ("data/2013-02.csv",)
    assert job.data_commit == "work tree"
    assert list(job.partitions) == ["2013-01", "2013-02"]


def test_nothing_needs_to_be_committed_to_try(project: Path) -> None:
    (project / "models").mkdir()
    (project / "data").mkdir()
    (project / "models/m.yaml").write_text(SPEC.replace("REPOSITORY", ""))
    (project / "data/2013-01.csv").write_text("x,y\n1,2\n")
    job = open_job(RunRequest(str(project / "models/m.yaml")))
    assert job.spec_commit == ""
    assert job.uncommitted == ("data/2013-01.csv", "models/m.yaml")
    assert not open_repository(project).has_commits()


def test_git_is_asked_four_times_for_a_job(commit: Commit, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = commit({"models/m.yaml": SPEC.replace("REPOSITORY", ""), "data/2013-01.csv": "x,y\n1,2\n"})
    log = project.parent / "asked.json"
    monkeypatch.setenv("GIT_TRACE2_EVENT", str(log))
    job = open_job(RunRequest(str(project / "models/m.yaml")))
    started = [each for each in map(json.loads, log.read_text().splitlines()) if each["event"] == "start"]
    asked = [each["argv"] for each in started if "/" not in each["sid"]]  # else git has started it itself
    commands = ("rev-parse", "status", "ls-tree")
    assert [next(name for name in commands if name in each) for each in asked] == [
        *("rev-parse", "status"),  # the repository; its newest commit, and whether the spec differs from it
        *("status", "ls-tree"),  # the same for the data; their files
    ]
    assert (job.spec_commit, job.data_commit) == (head, head)


def test_a_spec_commit_is_run_whatever_the_work_tree_says_by_now(project: Path, commit: Commit) -> None:
    spec = SPEC.replace("REPOSITORY", "")
    old = commit({"models/m.yaml": spec, "data/2013-01.csv": "x,y\n1,2\n"})
    newer = commit({"models/m.yaml": spec.replace("ridge", "lasso"), "data/2013-02.csv": "x,y\n1,2\n"})
    path = project / "models/m.yaml"
    path.write_text(spec.replace("ridge", "elastic_net"))
    job = open_job(RunRequest(str(path), spec_commit=old[:10], data_commit=newer))
    assert (job.spec.model.trainer, job.spec_commit, job.data_commit) == ("ridge", old, newer)
    assert job.uncommitted == ()
    assert list(job.partitions) == ["2013-01", "2013-02"]
    path.unlink()
    assert open_job(RunRequest(str(path), spec_commit=old)).spec.model.trainer == "ridge"
    with pytest.raises(InputError, match="expected a branch, tag or commit"):
        open_job(RunRequest(str(path), spec_commit="never"))


def test_a_request_for_a_branch_stays_with_the_commit_that_it_stood_on(project: Path, commit: Commit) -> None:
    old = commit({"models/m.yaml": SPEC.replace("REPOSITORY", ""), "data/2013-01.csv": "x,y\n1,2\n"})
    job = open_job(RunRequest(str(project / "models/m.yaml"), spec_commit="main"))
    assert (job.request.spec_commit, job.request.data_commit) == (old, old)
