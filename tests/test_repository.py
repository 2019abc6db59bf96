from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import InputError, ReleaseError
from pipeline.repository import File, matching, mirror, open_repository

from .conftest import Commit, git


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


def test_files_of_a_commit_are_read_without_a_work_tree(project: Path, commit: Commit, tmp_path: Path) -> None:
    first = commit({"flights/2013-01.csv": "x\n1\n", "b/ä ö.csv": b"\xff\x00"})
    commit({"flights/2013-01.csv": "x\n2\n"})
    repository = mirror(project.as_uri(), tmp_path)
    files = repository.files(first)
    assert [file.path for file in files] == ["b/ä ö.csv", "flights/2013-01.csv"]
    assert [repository.read(file) for file in files] == [b"\xff\x00", b"x\n1\n"]
    assert [file.path for file in repository.files(first, "flights")] == ["flights/2013-01.csv"]


def test_a_mirror_learns_of_new_commits(project: Path, commit: Commit, tmp_path: Path) -> None:
    commit({"a.csv": "x\n1\n"})
    repository = mirror(project.as_uri(), tmp_path)
    newer = commit({"a.csv": "x\n2\n"})
    repository.update()
    assert repository.commit("main").id == newer


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


def test_a_tag_carries_its_message_whole(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    text = 'm@v1.0.0: first\n\n# not a comment\nüñí\n\n{\n "a": 1\n}\n'
    assert repository.tag("m@v1.0.0", head, text)
    (tag,) = repository.tags("m@v*")
    assert (tag.name, tag.commit, tag.message) == ("m@v1.0.0", head, text.strip())


def test_a_tag_that_exists_is_not_moved(project: Path, commit: Commit) -> None:
    first = commit()
    repository = open_repository(project)
    assert repository.tag("m@v1.0.0", first, "one")
    assert not repository.tag("m@v1.0.0", commit(), "two")
    assert repository.tags("m@v*")[0].commit == first


def test_a_lightweight_tag_is_no_release(project: Path, commit: Commit) -> None:
    commit()
    git(project, "tag", "m@v1.0.0")
    assert open_repository(project).tags("m@v*") == []


def test_a_tag_is_pushed_to_origin(project: Path, commit: Commit, tmp_path: Path) -> None:
    head = commit()
    git(tmp_path, "init", "-q", "-b", "main", "--bare", "origin.git")
    git(project, "remote", "add", "origin", str(tmp_path / "origin.git"))
    assert open_repository(project).tag("m@v1.0.0", head, "one", push=True)
    assert "m@v1.0.0" in git(tmp_path / "origin.git", "tag")


def test_a_race_for_a_tag_at_the_remote_is_lost_politely(project: Path, commit: Commit, tmp_path: Path) -> None:
    head = commit()
    git(tmp_path, "init", "-q", "-b", "main", "--bare", "origin.git")
    git(project, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(project, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", "origin.git", "rival")
    git(tmp_path / "rival", "tag", "-a", "-m", "theirs", "m@v1.0.0")
    git(tmp_path / "rival", "push", "-q", "origin", "m@v1.0.0")
    repository = open_repository(project)
    assert not repository.tag("m@v1.0.0", head, "ours", push=True)
    assert repository.tags("m@v*")[0].message == "theirs"


def test_a_tag_that_cannot_be_pushed_is_taken_back(project: Path, commit: Commit, tmp_path: Path) -> None:
    head = commit()
    git(project, "remote", "add", "origin", str(tmp_path / "nowhere.git"))
    with pytest.raises(ReleaseError, match="nothing was released"):
        open_repository(project).tag("m@v1.0.0", head, "one", push=True)
    assert open_repository(project).tags("m@v*") == []
