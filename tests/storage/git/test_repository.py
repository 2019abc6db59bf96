from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from pipeline.errors import DataError, InputError
from pipeline.storage.git.mirrors import mirror
from pipeline.storage.git.partitions import matching
from pipeline.storage.git.repository import File, LinkAstray, open_repository
from tests.conftest import Commit, git


def test_a_commit_is_found_by_any_of_its_names(project: Path, commit: Commit) -> None:
    head = commit({"a.csv": "x\n1\n"}, "January's flights")
    repository = open_repository(project)
    for name in ("HEAD", "main", head, head[:8]):
        assert repository.commit(name).id == head
    assert str(repository.commit()).startswith(head[:10])
    assert repository.commit().subject == "January's flights"


@pytest.mark.parametrize("name", ["nosuch", "--all", "-1", "HEAD~7"])
def test_an_unknown_commit_is_named(project: Path, commit: Commit, name: str) -> None:
    commit({"a.csv": "x\n"})
    with pytest.raises(InputError, match=f"found no commit '{name}'; expected a branch, tag or commit id"):
        open_repository(project).commit(name)


@pytest.mark.parametrize(
    "name", ["HEAD~1..HEAD", "HEAD~1...HEAD", "^HEAD~1", "HEAD^!", "HEAD^@", "--all", "a b", "", "-n1"]
)
def test_what_is_not_one_commit_is_refused(project: Path, commit: Commit, name: str) -> None:
    commit({"a.csv": "x\n"})
    commit({"a.csv": "y\n"})
    with pytest.raises(InputError, match=r"project: found .*; expected (one commit: )?a branch, tag or (commit )?id"):
        open_repository(project).commit(name)


def test_a_range_of_commits_is_called_one(project: Path, commit: Commit) -> None:
    commit({"a.csv": "x\n"})
    with pytest.raises(InputError, match=r"found a range of commits, 'HEAD\.\.HEAD'; expected one commit"):
        open_repository(project).commit("HEAD..HEAD")


def test_files_of_a_commit_are_read_without_a_work_tree(project: Path, commit: Commit, tmp_path: Path) -> None:
    first = commit({"flights/2013-01.csv": "x\n1\n", "b/ä ö.csv": b"\xff\x00"})
    commit({"flights/2013-01.csv": "x\n2\n"})
    repository = mirror(project.as_uri(), tmp_path)
    files = repository.files(first)
    assert [file.path for file in files] == ["b/ä ö.csv", "flights/2013-01.csv"]
    assert [repository.read(file) for file in files] == [b"\xff\x00", b"x\n1\n"]
    assert [file.path for file in repository.files(first, "flights")] == ["flights/2013-01.csv"]


def test_a_commit_is_part_of_its_own_history_and_of_those_after_it(project: Path, commit: Commit) -> None:
    first, second = commit(), commit()
    repository = open_repository(project)
    assert repository.is_ancestor(first, second)
    assert repository.is_ancestor(first, first)
    assert not repository.is_ancestor(second, first)
    assert not repository.is_ancestor("0" * 40, first)


def test_a_mirror_learns_of_new_commits(project: Path, commit: Commit, tmp_path: Path) -> None:
    commit({"a.csv": "x\n1\n"})
    repository = mirror(project.as_uri(), tmp_path)
    newer = commit({"a.csv": "x\n2\n"})
    repository.update()
    assert repository.commit("main").id == newer


def test_only_what_fetches_has_the_login(project: Path, commit: Commit, tmp_path: Path) -> None:
    commit({"a.csv": "x\n1\n"})
    told = tmp_path / "told"

    def login() -> AbstractContextManager[Mapping[str, str]]:
        return nullcontext({"GIT_TRACE": str(told), "TOKEN": "s3cret"})

    repository = mirror(project.as_uri(), tmp_path, login)
    assert "built-in: git clone" in told.read_text()
    told.unlink()
    assert repository.files(repository.commit("main").id)
    assert not told.exists()
    repository.update()
    assert "built-in: git fetch" in told.read_text()
    assert "s3cret" not in repr(repository) + told.read_text()
    assert repository == mirror(project.as_uri(), tmp_path)


def test_the_work_tree_lists_new_files_with_the_ids_that_git_will_give_them(project: Path, commit: Commit) -> None:
    commit({"a.csv": "x\n1\n", ".gitignore": "ignored.csv\n"})
    (project / "new.csv").write_text("x\n2\n")
    (project / "ignored.csv").write_text("x\n3\n")
    repository = open_repository(project)
    before = {file.path: file for file in repository.work_tree_files()}
    assert set(before) == {"a.csv", "new.csv", ".gitignore"}
    assert repository.read(before["new.csv"]) == b"x\n2\n"
    head = commit()
    assert {file.path: file for file in repository.files(head)} == before


def test_changes_name_what_differs_from_the_newest_commit(project: Path, commit: Commit) -> None:
    commit({"models/a.yaml": "a", "other.txt": "b"})
    (project / "models/a.yaml").write_text("c")
    (project / "models/new.yaml").write_text("c")
    (project / "other.txt").write_text("c")
    assert open_repository(project).changes(["models"]) == ["models/a.yaml", "models/new.yaml"]


def test_a_folder_outside_git_says_how_to_begin(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no Git repository; expected one: 'git init"):
        open_repository(tmp_path)


def test_partitions_are_the_files_that_fit_the_template() -> None:
    files = [File(path, "0", 0) for path in ("f/2013-02.csv", "f/2013-01.csv", "f/x/2013-03.csv", "g/2013-01.csv")]
    assert list(matching(files, "f/{month}.csv")) == ["2013-01", "2013-02"]
    assert list(matching(files, "{where}/{month}.csv")) == ["f/2013-01", "f/2013-02", "g/2013-01"]
    assert list(matching(files, "f/2013-01.csv")) == ["2013-01.csv"]


def test_a_link_is_read_through_before_and_after_its_commit(project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    commit({"raw/2024.csv": "a\n1\n"})
    (project / "data").mkdir()
    (project / "data/2024.csv").symlink_to("../raw/2024.csv")
    (before,) = repository.work_tree_files("data")
    commit()
    (after,) = repository.files("HEAD", "data")
    assert before == after == repository.work_tree_files("data")[0]
    assert repository.read(after) == b"a\n1\n"
    (project / "raw/2024.csv").write_text("a\n2\n")
    (changed,) = repository.work_tree_files("data")
    assert changed.id != after.id
    assert repository.read(changed) == b"a\n2\n"


@pytest.mark.parametrize("target", ["/etc/hostname", "../../outside.csv", "nowhere.csv", "2024.csv"])
def test_a_link_that_leads_to_no_file_of_the_repository_is_told(project: Path, commit: Commit, target: str) -> None:
    repository = open_repository(project)
    (project.parent / "outside.csv").write_text("secret")
    (project / "data").mkdir()
    (project / "data/2024.csv").symlink_to(target)
    if target in {"/etc/hostname", "../../outside.csv"}:
        assert [type(each) for each in repository.work_tree_files("data")] == [LinkAstray]
    commit()
    assert [type(each) for each in repository.files("HEAD", "data")] == [LinkAstray]
    with pytest.raises(DataError, match="leads out of"):
        repository.read_path("", "data/../../outside.csv")


def test_a_name_that_is_no_utf_8_is_a_partition_that_can_be_written_down(project: Path, commit: Commit) -> None:
    (project / "f").mkdir()
    odd = os.fsdecode(b"f/Fran\xe7ais.csv")
    (project / odd).write_bytes(b"x\n1\n")
    repository = open_repository(project)
    found = [matching(files, "f/{name}.csv") for files in (repository.work_tree_files("f"), repository.files(commit()))]
    assert found[0] == found[1]
    assert list(found[0]) == ["Fran\\xe7ais"]
    assert repository.read(found[0]["Fran\\xe7ais"]) == b"x\n1\n"
    (group,) = matching(repository.files("HEAD"), "f/*.csv").values()
    assert zipfile.ZipFile(io.BytesIO(repository.read(group))).namelist() == ["Fran\\xe7ais.csv"]
    (project / "f/Fran\\xe7ais.csv").write_bytes(b"x\n2\n")
    with pytest.raises(InputError, match="found 2 files that are written so; expected one: rename"):
        matching(repository.work_tree_files("f"), "f/{name}.csv")


def test_submodules_are_no_files(project: Path, commit: Commit, tmp_path: Path) -> None:
    commit({"data/a.csv": "a\n"})
    git(project, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},data/sub")
    git(project, "commit", "-q", "-m", "a submodule")
    assert [each.path for each in open_repository(project).files("HEAD", "data")] == ["data/a.csv"]
