from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.releases import (
    Evidence,
    Release,
    Version,
    breaks_callers,
    find_release,
    newest_releases,
    next_version,
    record,
    releases,
    with_facts,
)
from pipeline.delivery.stages import find_unreadable, stages
from pipeline.errors import InputError
from pipeline.home import CHECKOUT
from pipeline.model.signature import Input, Signature
from pipeline.storage.git.repository import open_repository
from pipeline.storage.git.tags import list_tags, write_tag
from tests.conftest import Commit, git
from tests.hostile_settings import settings  # noqa: F401 - each test runs under a user's own settings too

X = Input("x", "float")
REGRESSION = Signature("regression", (X,), example={"x": 1.0})
CLASSIFICATION = Signature("classification", (X,), classes=("no", "yes"))


def evidence(**changes: Any) -> Evidence:
    facts: dict[str, Any] = {
        "data_repository": "data.git", "data_commit": "d" * 40, "spec_commit": "HEAD", "code": "modelrail 1",
        "spec_path": "models/m.yaml", "environment": None, "as_of": None, "partitions": 12,
        "artifacts": {"train": "k" * 64}, "model_digest": "m1", "recipe": "r1", "signature": REGRESSION.to_json(),
        "metrics": {"rmse": {"value": 0.1, "low": 0.09, "high": 0.11}}, "verdict": ["rmse 0.1 is at most 1: passed"],
        "mlflow_run": "run", "who": "Test <test@example.org>", "why": "",
    }  # fmt: skip
    return Evidence(**(facts | changes))


def previous(version: str = "1.2.3", **changes: Any) -> Release:
    return Release("m", Version.parse(version), evidence(**changes))


@pytest.mark.parametrize(
    ("before", "now", "version"),
    [
        (None, evidence(), "1.0.0"),
        (previous(), evidence(data_commit="e" * 40), "1.2.4"),
        (previous(), evidence(recipe="r2"), "1.3.0"),
        (previous(), evidence(signature=CLASSIFICATION.to_json()), "2.0.0"),
        (previous(recipe="r0"), evidence(signature=CLASSIFICATION.to_json()), "2.0.0"),
    ],
)
def test_the_version_says_what_changed(before: Release | None, now: Evidence, version: str) -> None:
    assert str(next_version(before, now)) == version


@pytest.mark.parametrize(
    ("new", "breaks"),
    [
        (REGRESSION, False),
        (replace(REGRESSION, example={"x": 2.0}), False),
        (replace(REGRESSION, inputs=(X, Input("z", "float"))), True),
        (replace(REGRESSION, inputs=()), True),
        (replace(REGRESSION, inputs=(Input("x", "str"),)), True),
        (replace(REGRESSION, inputs=(Input("x", "float", nullable=False),)), True),
        (replace(REGRESSION, inputs=(Input("y", "float"),)), True),
        (CLASSIFICATION, True),
    ],
)
def test_a_signature_breaks_callers_when_they_must_change(new: Signature, *, breaks: bool) -> None:
    assert breaks_callers(REGRESSION, new) is breaks


def test_an_input_that_may_now_be_missing_breaks_nobody() -> None:
    strict = replace(REGRESSION, inputs=(Input("x", "float", nullable=False),))
    assert not breaks_callers(strict, REGRESSION)


def test_a_release_is_read_back_from_its_tag(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    made, new = record(repository, "m", evidence(spec_commit=head, why="the first"))
    assert new
    assert made.tag == "m@v1.0.0"
    (found,) = releases(repository, "m")
    assert found.evidence == made.evidence
    assert found.commit == head
    assert found.date is not None


def test_the_tag_is_readable_by_a_person(project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    record(repository, "m", evidence(spec_commit=commit()))
    text = list_tags(repository, "m@v*")[0].message
    assert text.startswith("m@v1.0.0 (the first release): released by its gate\n")
    assert "rmse: 0.1000 [0.0900, 0.1100]\n" in text
    assert "rmse 0.1 is at most 1: passed\n" in text


def test_the_same_model_is_released_once(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    record(repository, "m", evidence(spec_commit=head))
    again, new = record(repository, "m", evidence(spec_commit=head))
    assert not new
    assert again.tag == "m@v1.0.0"
    assert len(releases(repository, "m")) == 1


def test_a_version_that_somebody_took_is_passed_over(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    for digest in ("m1", "m2", "m3"):
        record(repository, "m", evidence(spec_commit=head, model_digest=digest))
    assert [str(each.version) for each in releases(repository, "m")] == ["1.0.0", "1.0.1", "1.0.2"]


def test_each_release_has_a_commit_of_its_own(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    for digest in ("m1", "m2"):
        record(repository, "m", evidence(spec_commit=head, model_digest=digest))
    record(repository, "other", evidence(spec_commit=head))
    first, second = releases(repository, "m")
    assert first.commit == releases(repository, "other")[0].commit == head
    assert git(project, "rev-parse", f"{second.commit}^").strip() == head, "gto tells versions apart by commits"


def test_the_newest_releases_are_those_of_the_greatest_versions(project: Path, commit: Commit) -> None:
    repository, head = open_repository(project), commit()
    for name in "abcdefghijkl":
        record(repository, "m", evidence(spec_commit=head, model_digest=name))
    git(project, "tag", "m@v2.0.0")
    found, count = newest_releases(repository, "m", 3)
    assert ([str(each.version) for each in found], count) == (["1.0.9", "1.0.10", "1.0.11"], 12)
    assert newest_releases(repository, "n", 3) == ([], 0)


def test_the_tag_names_the_image_of_the_version_that_it_got(project: Path, commit: Commit) -> None:
    repository, head = open_repository(project), commit()
    asked: list[str] = []

    def make_image(release: Release) -> str:
        asked.append(release.tag)
        if len(asked) == 1:  # another run is faster
            record(repository, "m", evidence(spec_commit=head, model_digest="other"))
        return f"registry/m@sha256:{release.version}"

    made, _ = record(repository, "m", evidence(spec_commit=head), make_image=make_image)
    assert asked == ["m@v1.0.0", "m@v1.0.1"]
    assert releases(repository, "m")[-1].evidence.image == made.evidence.image == "registry/m@sha256:1.0.1"
    assert "Image:   registry/m@sha256:1.0.1\n" in list_tags(repository, "m@v*")[-1].message


def test_evidence_without_an_image_is_still_read(project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    facts = asdict(evidence())
    del facts["image"]
    write_tag(repository, "m@v1.0.0", commit(), with_facts(["m@v1.0.0", ""], facts))
    assert releases(repository, "m")[0].evidence.image is None


def test_evidence_that_a_newer_modelrail_wrote_more_into_is_still_read(project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    facts = asdict(evidence()) | {"of_tomorrow": 1}
    write_tag(repository, "m@v1.0.0", commit(), with_facts(["m@v1.0.0", ""], facts))
    assert releases(repository, "m")[0].evidence == evidence()


def test_releases_are_ordered_by_version_not_by_text(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    for number in range(12):
        record(repository, "m", evidence(spec_commit=head, model_digest=str(number)))
    assert str(releases(repository, "m")[-1].version) == "1.0.11"


def test_models_do_not_mix(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    record(repository, "m", evidence(spec_commit=head))
    record(repository, "m-2", evidence(spec_commit=head))
    assert [each.tag for each in releases(repository, "m")] == ["m@v1.0.0"]


def test_a_release_is_found_by_version_or_as_the_newest(project: Path, commit: Commit) -> None:
    head = commit()
    repository = open_repository(project)
    for digest in ("m1", "m2"):
        record(repository, "m", evidence(spec_commit=head, model_digest=digest))
    assert find_release(repository, "m").tag == "m@v1.0.1"
    assert find_release(repository, "m@v1.0.0").tag == "m@v1.0.0"
    assert find_release(repository, "m@1.0.0").tag == "m@v1.0.0"


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("other", "found no release of 'other'"),
        ("m@v9.9.9", r"found no release m@v9\.9\.9; expected one of v1\.0\.0"),
        ("m@latest", "found the version 'latest'; expected one such as v1.2.3"),
    ],
)
def test_an_unknown_release_is_told_with_those_there_are(
    project: Path, commit: Commit, reference: str, message: str
) -> None:
    repository = open_repository(project)
    record(repository, "m", evidence(spec_commit=commit()))
    with pytest.raises(InputError, match=message):
        find_release(repository, reference)


@pytest.mark.parametrize("text", ["made by hand", None], ids=["by hand", "a metric that is no number"])
def test_a_foreign_tag_with_a_release_name_is_named_and_passed_over(
    project: Path, commit: Commit, text: str | None
) -> None:
    repository, head = open_repository(project), commit()
    first, _ = record(repository, "m", evidence(spec_commit=head))
    text = text or with_facts(
        ["by hand"], asdict(evidence(spec_commit=head)) | {"metrics": {"rmse": {"value": "a lot"}}}
    )
    write_tag(repository, "m@v1.0.1", head, text)
    write_tag(repository, "m@v8.0.0", head, text)
    assert releases(repository, "m") == [first]
    assert newest_releases(repository, "m", 1) == ([first], 3)
    assert [each.split(":")[0] for each in find_unreadable(repository, "m")] == ["tag m@v1.0.1", "tag m@v8.0.0"]
    again, _ = record(repository, "m", evidence(spec_commit=head, model_digest="other"))
    assert again.tag == "m@v1.0.2"


def test_what_people_type_cannot_be_taken_for_anything_else(project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    why = 'bad\x01 data\n--------\n{"metrics": {}}\x1b[31m'
    made, _ = record(repository, "m", evidence(spec_commit=commit(), why=why))
    assert releases(repository, "m") == [made]
    assert made.evidence.why == 'bad data -------- {"metrics": {}} [31m'


RIVAL = """
import sys, time
from pathlib import Path
from tests.delivery.test_releases import evidence
from pipeline.delivery.releases import record
from pipeline.storage.git.repository import open_repository
from pipeline.delivery.stages import assign

clone, name, others = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
(clone.parent / f"ready-{name}").touch()
while not all((clone.parent / f"ready-{each}").exists() for each in others):
    time.sleep(0.001)
for round in range(4):
    facts = evidence(model_digest=f"{name}{round}", who=name)
    made, _ = record(open_repository(clone), "m", facts, push=True)
    assign(open_repository(clone), made, "prod", action="deploy", why=name, push=True)
"""


def test_processes_that_release_and_assign_at_once_get_numbers_of_their_own(
    project: Path, commit: Commit, tmp_path: Path
) -> None:
    """Let three clones release four times each to one remote: no tag is lost, moved or doubled."""
    commit()
    git(tmp_path, "clone", "-q", "--bare", str(project), "origin.git")
    names = ("one", "two", "three")
    rivals = []
    for name in names:
        git(tmp_path, "clone", "-q", "origin.git", name)
        command = [sys.executable, "-c", RIVAL, str(tmp_path / name), name, *names]
        root = CHECKOUT
        rivals.append(subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True))
    said = [rival.communicate(timeout=120)[1] for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0, 0, 0], said
    origin = open_repository(tmp_path / "origin.git")
    made = releases(origin, "m")
    assert [str(each.version) for each in made] == ["1.0.0", *(f"1.0.{place}" for place in range(1, 12))]
    assert sorted(each.evidence.model_digest for each in made) == sorted(
        f"{name}{n}" for name in names for n in range(4)
    )
    assigned = stages(origin, "m")
    assert [each.number for each in assigned] == list(range(1, len(assigned) + 1))
    theirs = {name: git(tmp_path / "origin.git", "rev-parse", name) for name in git(origin.root, "tag").split()}
    for clone in names:
        for name in git(tmp_path / clone, "tag").split():
            assert git(tmp_path / clone, "rev-parse", name) == theirs[name], "what a clone has is what the remote has"
        assert git(tmp_path / clone, "for-each-ref", "refs/modelrail") == ""
