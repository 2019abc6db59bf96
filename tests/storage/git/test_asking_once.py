"""What is remembered of Git is what Git says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.answers import asking_once, asks_once
from pipeline.storage.git.repository import Repository, open_repository
from pipeline.storage.git.tags import list_ids, list_names, list_tags
from tests.conftest import git

PATTERNS = [
    *(("m@v*",), ("m#*",), ("m#prod#*",), ("m#*#*",), ("m@v1.0.0",), ("m@v1.0.0", "m#prod#1"), ("m-2@v*",)),
    *(("*@v*",), ("nothing@v*",), ("m@v*", "m#prod#*"), ("folder/*",), ("m@v*", "m@v1*")),
]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.yaml").write_text("a")
    (tmp_path / "models" / "b.yaml").write_text("b")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "-qm", "one")
    names = (
        "m@v1.0.0",
        "m@v1.0.10",
        "m@v2.0.0",
        "m-2@v1.0.0",
        "m#prod#1",
        "m#prod#2",
        "m#dev#1",
        "folder/m@v1",
        "é@v1",
    )
    for number, name in enumerate(names):
        git(tmp_path, "tag", "-a", "-m", f"{name}\n\nsecond é\n\n\n----\n{number}", name)
    git(tmp_path, "tag", "m@v3.0.0")
    git(tmp_path, "tag", "-a", "-m", "of a tag", "m@v4.0.0", "m@v1.0.0")
    return open_repository(tmp_path)


@pytest.mark.parametrize("patterns", PATTERNS)
def test_tags_are_the_same_where_git_is_asked_once(repository: Repository, patterns: tuple[str, ...]) -> None:
    def ask() -> tuple[object, ...]:
        return (
            list_tags(repository, *patterns),
            sorted(list_names(repository, *patterns)),
            list_ids(repository, *patterns),
        )

    with asking_once():
        once = ask()
    assert once == ask()


@pytest.mark.parametrize(
    "paths", [["models/a.yaml"], ["models/b.yaml"], ["models"], ["models/"], ["."], ["nothing"], ["models/*.yaml"]]
)
def test_what_differs_is_the_same_where_git_is_asked_once(repository: Repository, paths: list[str]) -> None:
    (repository.root / "models" / "a.yaml").write_text("changed")
    (repository.root / "models" / "new é.yaml").write_text("new")
    (repository.root / "models.yaml").write_text("beside")
    with asking_once():
        once = repository.work_tree(paths)
    assert once == repository.work_tree(paths)


def test_answers_are_remembered_until_the_end_and_no_longer(repository: Repository) -> None:
    with asking_once():
        before = list_names(repository, "m@v*")
        with asking_once():
            git(repository.root, "tag", "-a", "-m", "later", "m@v5.0.0")
        assert list_names(repository, "m@v*") == before
        assert asks_once()
    assert not asks_once()
    assert set(list_names(repository, "m@v*")) - set(before) == {"m@v5.0.0"}


def test_one_repository_is_opened_once(repository: Repository) -> None:
    folder = repository.root / "models"
    with asking_once():
        assert open_repository(folder) is open_repository(folder / "a.yaml")
    assert open_repository(folder) is not open_repository(folder)
