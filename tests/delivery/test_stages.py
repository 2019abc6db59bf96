from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.delivery.releases import Release, Version, record
from pipeline.delivery.stages import (
    Action,
    Stage,
    assign,
    current,
    current_stages,
    find_unreadable,
    newer,
    stages,
    standing_of,
)
from pipeline.errors import InputError
from pipeline.storage.git.repository import Repository, open_repository
from pipeline.storage.git.tags import write_tag
from tests.conftest import Commit, git
from tests.delivery.test_releases import evidence
from tests.hostile_settings import settings  # noqa: F401 - each test runs under a user's own settings too


@pytest.fixture
def released(project: Path, commit: Commit) -> tuple[Repository, list[Release]]:
    """Return a repository with three releases of m."""
    repository, head = open_repository(project), commit()
    made = [record(repository, "m", evidence(spec_commit=head, model_digest=name))[0] for name in "abc"]
    return repository, made


def test_a_stage_is_read_back_from_its_tag(released: tuple[Repository, list[Release]]) -> None:
    repository, (first, *_) = released
    made = assign(repository, first, "prod", action="deploy", why="it is better", push=False)
    assert made.tag == "m#prod#1"
    assert current(repository, "m", "prod") == made
    assert (made.commit, made.release, made.why) == (first.commit, "m@v1.0.0", "it is better")


def test_the_same_release_is_assigned_once(released: tuple[Repository, list[Release]]) -> None:
    repository, (first, *_) = released
    for _ in range(3):
        assign(repository, first, "prod", action="deploy", why="", push=False)
    assert [each.tag for each in stages(repository, "m")] == ["m#prod#1"]


def test_a_rollback_is_a_tag_more(released: tuple[Repository, list[Release]]) -> None:
    repository, (first, second, _) = released
    assign(repository, first, "prod", action="deploy", why="", push=False)
    assign(repository, second, "prod", action="deploy", why="", push=False)
    assign(repository, first, "prod", action="rollback", why="too slow", push=False, who="Eve")
    found = stages(repository, "m", "prod")
    assert [(each.number, str(each.version), each.action) for each in found] == [
        (1, "1.0.0", "deploy"),
        (2, "1.0.1", "deploy"),
        (3, "1.0.0", "rollback"),
    ]
    assert found[-1].who == "Eve"


def test_only_the_newest_stage_of_each_environment_is_what_should_be_live(
    released: tuple[Repository, list[Release]],
) -> None:
    repository, (first, second, third) = released
    for number in range(11):
        assign(repository, (first, second)[number % 2], "prod", action="promote", why="", push=False)
    assign(repository, third, "dev", action="deploy", why="", push=False)
    assert [(each.tag, each.release) for each in current_stages(repository, "m")] == [
        ("m#dev#1", "m@v1.0.2"),
        ("m#prod#11", "m@v1.0.0"),
    ]
    assert current_stages(repository, "n") == []


def test_environments_and_models_do_not_mix(released: tuple[Repository, list[Release]]) -> None:
    repository, (first, second, _) = released
    other, _ = record(repository, "m-2", evidence(spec_commit=first.commit))
    assign(repository, first, "prod", action="deploy", why="", push=False)
    assign(repository, second, "dev", action="deploy", why="", push=False)
    assign(repository, other, "prod", action="deploy", why="", push=False)
    assert [each.tag for each in stages(repository, "m")] == ["m#dev#1", "m#prod#1"]


def test_stages_are_ordered_by_number_not_by_text(released: tuple[Repository, list[Release]]) -> None:
    repository, made = released
    for number in range(12):
        assign(repository, made[number % 2], "prod", action="promote", why="", push=False)
    assert [each.number for each in stages(repository, "m")] == list(range(1, 13))


def test_a_foreign_tag_with_a_stage_name_is_named_and_passed_over(released: tuple[Repository, list[Release]]) -> None:
    repository, (first, second, *_) = released
    made = assign(repository, first, "prod", action="deploy", why="a\x01b", push=False)
    assert made.why == "a b"
    write_tag(repository, "m#prod#2", first.commit, "by hand")
    assert stages(repository, "m") == [made]
    assert current(repository, "m", "prod") == made
    assert newer(repository, made) is None
    assert [each.partition(" in ")[0] for each in find_unreadable(repository, "m")] == ["tag m#prod#2: found no stage"]
    assert assign(repository, second, "prod", action="deploy", why="", push=False).number == 3


def test_a_name_that_cannot_be_a_stage_is_refused(released: tuple[Repository, list[Release]]) -> None:
    repository, (first, *_) = released
    with pytest.raises(InputError, match="environment: found 'a b'"):
        assign(repository, first, "a b", action="deploy", why="", push=False)


def test_a_pushed_stage_takes_its_release_along(released: tuple[Repository, list[Release]], tmp_path: Path) -> None:
    repository, (first, *_) = released
    git(tmp_path, "init", "-q", "-b", "main", "--bare", "origin.git")
    git(repository.root, "remote", "add", "origin", str(tmp_path / "origin.git"))
    assign(repository, first, "prod", action="deploy", why="", push=True)
    assert git(tmp_path / "origin.git", "tag").split() == ["m#prod#1", "m@v1.0.0"]


HISTORIES: list[tuple[str, str, str]] = [
    ("", "", ""),
    ("d1", "1", ""),
    ("d1 d2 d3", "1 2 3", ""),
    ("d1 d2 r1", "1", "2"),
    ("d1 d2 d3 r2 r1", "1", "2 3"),
    ("d1 d2 d3 r1", "1", "2 3"),
    ("d1 d2 r1 d3", "1 3", "2"),
    ("d1 d2 r1 p2", "1 2", ""),
    ("d1 d2 r1 d3 r1", "1", "2 3"),
    ("d2 r1", "1", "2"),
    ("d1 d2 p1", "2 1", ""),
    ("d1 d2 p1 r2", "2", "1"),
    ("r1", "1", ""),
    ("d1 d2 a1", "1", "2"),
    ("d1 d2 p1 a2", "2", "1"),
    ("d1 d2 r1 a2", "1 2", ""),
    ("d1 d2 d3 r2 r1 a2", "1 2", "3"),
    ("d1 d2 r1 a2 r1", "1", "2"),
]


@pytest.mark.parametrize(("history", "live", "withdrawn"), HISTORIES, ids=[each[0] for each in HISTORIES])
def test_a_rollback_goes_back_and_holds_what_it_left(history: str, live: str, withdrawn: str) -> None:
    actions: dict[str, Action] = {"d": "deploy", "p": "promote", "r": "rollback", "a": "abort"}
    blank = Stage("m", "prod", 0, Version(0, 0, 0), "deploy", "", "")
    found = standing_of(
        [
            replace(blank, number=number, action=actions[each[0]], version=Version(int(each[1]), 0, 0))
            for number, each in enumerate(history.split(), start=1)
        ]
    )
    assert [each.major for each in found.live] == [int(each) for each in live.split()]
    assert sorted(each.major for each in found.withdrawn) == [int(each) for each in withdrawn.split()]
