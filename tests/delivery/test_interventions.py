"""Interventions as tags: read back, numbered, and won by one of two."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.delivery.interventions import intervene, interventions, refusal_of, standing_hold
from pipeline.delivery.releases import Release, record
from pipeline.delivery.stages import assign, find_unreadable, stages
from pipeline.operations.provenance.auditing import audit
from pipeline.storage.git.repository import Repository, open_repository
from tests.conftest import Commit, git
from tests.delivery.test_gto import GTO, gto
from tests.delivery.test_releases import evidence
from tests.hostile_settings import settings  # noqa: F401 - each test runs under a user's own settings too


@pytest.fixture
def released(project: Path, commit: Commit) -> tuple[Repository, Release]:
    repository = open_repository(project)
    release, _ = record(repository, "m", evidence(spec_commit=commit()))
    assign(repository, release, "prod", action="deploy", why="", push=False)
    return repository, release


def test_an_intervention_is_read_back_from_its_tag(released: tuple[Repository, Release]) -> None:
    repository, release = released
    why, said = "drift in\n2 windows", ["m v1.0.0 in prod: it moved", "  'x' is missing"]
    made = intervene(repository, release, "prod", "hold", why=why, push=False, who="Eve", evidence={"said": said})
    assert made is not None
    assert (made.tag, made.why) == ("m#prod#watch#1", "drift in 2 windows")
    assert interventions(repository, "m", "prod") == [made]
    assert interventions(repository, "m", "dev") == []
    shown = git(repository.root, "tag", "-l", "-n20", made.tag)
    assert "nothing goes live after m@v1.0.0 in prod" in shown
    assert "'x' is missing" in shown


def test_stages_and_gto_pass_interventions_over(released: tuple[Repository, Release]) -> None:
    repository, release = released
    for deed in ("alert", "retrain", "rollback", "hold", "resume"):
        intervene(repository, release, "prod", deed, why="", push=False)
    assert [each.tag for each in stages(repository, "m")] == ["m#prod#1"]
    assert find_unreadable(repository, "m") == []
    if GTO.exists():
        assert gto(repository.root, "show")["m"]["stage"] == {"prod": "v1.0.0"}


def test_a_hold_stands_until_it_is_resumed(released: tuple[Repository, Release]) -> None:
    repository, release = released
    for deed, stands in (("alert", None), ("hold", 2), ("alert", 2), ("resume", None), ("hold", 5)):
        intervene(repository, release, "prod", deed, why="a reason", push=False)
        found = standing_hold(interventions(repository, "m", "prod"))
        assert (found and found.number) == stands
    assert found is not None
    assert refusal_of(found) == (
        "prod is on hold since m#prod#watch#5 (a reason): nothing new goes live there until 'modelrail resume m "
        "--environment prod --why …'"
    )


def test_of_two_clones_that_decide_the_same_one_wins(released: tuple[Repository, Release], tmp_path: Path) -> None:
    repository, release = released
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "-q", "--bare", str(repository.root), str(remote))
    git(repository.root, "remote", "add", "origin", str(remote))
    git(tmp_path, "clone", "-q", str(remote), "other")
    other = open_repository(tmp_path / "other")
    first = intervene(repository, release, "prod", "rollback", why="", push=True, after=0)
    assert first is not None
    assert intervene(other, release, "prod", "rollback", why="", push=True, after=0) is None
    assert interventions(other, "m", "prod") == [first]  # and what the other one did is known there
    assert intervene(other, release, "prod", "hold", why="", push=True, after=1) is not None


def test_what_only_has_such_a_name_is_passed_over_and_told(released: tuple[Repository, Release]) -> None:
    repository, release = released
    git(repository.root, "tag", "-a", "-m", "by hand", "m#prod#watch#1")
    assert interventions(repository, "m", "prod") == []
    assert "found no intervention in its message" in find_unreadable(repository, "m")[0]
    made = intervene(repository, release, "prod", "alert", why="", push=False)
    assert made is not None
    assert made.number == 2


def test_the_audit_tells_of_interventions_and_of_those_that_are_missing(released: tuple[Repository, Release]) -> None:
    repository, release = released
    for deed in ("alert", "hold"):
        intervene(repository, release, "prod", deed, why="drift", push=False, who="Eve")
    git(repository.root, "tag", "-d", "m#prod#watch#1")
    events = {each.id: each for each in audit(repository, None)}
    assert (events["m#prod#watch#2"].action, events["m#prod#watch#2"].who) == ("held", "Eve")
    assert events["m#prod#watch#1"].flags == ("deleted or not fetched",)
