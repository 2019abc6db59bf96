"""Rebuilds of real releases, from Git alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.releases import Release, find_release, record, with_facts
from pipeline.errors import InputError
from pipeline.home import CHECKOUT
from pipeline.operations.provenance.code import code_checkout, has_changes
from pipeline.operations.provenance.copies import copy_specs
from pipeline.operations.provenance.rebuilding import Proof, Rebuilt
from pipeline.storage.git.repository import open_repository
from pipeline.storage.git.tags import write_tag
from pipeline.ui.terminal.rebuilds import show_rebuild

from .conftest import ANN, SPEC, Story, as_person, table


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["rebuild", *arguments])


def skip_uncommitted(release: Release) -> None:
    if has_changes(release.evidence.code):
        pytest.skip("the code has changes that are in no commit, so it cannot be had from Git")


@pytest.fixture
def release(at_project: Story) -> Release:
    """Return the second release, which was judged against the first."""
    return find_release(open_repository(at_project.project), "line@v1.0.1")


def test_a_release_is_rebuilt_from_git_and_proven(release: Release, tmp_path: Path) -> None:
    skip_uncommitted(release)
    done = call("line@v1.0.1", "--json", "--keep", str(tmp_path / "kept"))
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["proven"]
    proofs = [(each["step"], each["partition"], each["same_key"], each["same_bytes"]) for each in found["proofs"]]
    assert proofs == [
        ("clean", "2024-01", True, True),
        ("clean", "2024-02", True, True),
        ("transform", "2024-01", True, True),
        ("transform", "2024-02", True, True),
        ("normalize", None, True, True),
        ("train", None, True, True),
        ("evaluate", None, True, True),
    ]
    assert found["recorded"] == found["installed"] == dict(release.evidence.made_with)
    assert found["notes"] == []
    kept = tmp_path / "kept"
    assert (kept / "in/specs/models/line.yaml").is_file(), "data in ../data stay inside the folder"
    assert not list((kept / "state").glob("releases/*"))


def test_a_clone_without_a_store_proves_a_release_by_its_tag_and_shows_what_differs(
    release: Release, tmp_path: Path, monkeypatch: Any
) -> None:
    """Rebuild a release whose tag claims another model, in a clean clone with nothing but Git."""
    skip_uncommitted(release)
    story = release  # its repository is the current folder
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ".", str(clone)], check=True)
    (tmp_path / "data").symlink_to((Path.cwd() / "../data").resolve())
    as_person(clone, ANN, "remote", "remove", "origin")
    forged = asdict(replace(story.evidence, model_digest="0" * 64))
    write_tag(open_repository(clone), "line@v1.0.2", story.commit, with_facts(["forged", ""], forged))
    monkeypatch.chdir(clone)
    done = call("line@v1.0.2")
    assert done.exit_code == 1
    assert re.search(r"clean +2 partitions +not compared +not compared +not in this store", done.output)
    assert re.search(r"train +\w{12} +the same +DIFFER", done.output)
    assert re.search(r"evaluate +\w{12} +the same +the same", done.output)
    assert "✗ not proven" in done.output


def test_a_release_of_other_code_is_rebuilt_by_that_code(tmp_path: Path, monkeypatch: Any) -> None:
    """Release with a checkout of the code, change the code, and rebuild with the changed checkout."""
    code, project = tmp_path / "code", tmp_path / "project"
    subprocess.run(["git", "clone", "-q", str(CHECKOUT), str(code)], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main", str(project)], check=True)
    story = Story(tmp_path)
    files = {"models/line.yaml": SPEC.replace("repository: ../data, ", ""), "parts/2024-01.csv": table(2)}
    story.commit("A line", project, {**files, ".gitignore": ".modelrail/\n"})

    def modelrail(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(code), "MLFLOW_DISABLE_TELEMETRY": "true"}
        return subprocess.run([sys.executable, "-P", "-m", "pipeline", *arguments], cwd=project, env=environment,
                              capture_output=True, text=True, check=False)  # fmt: skip

    try:
        assert modelrail("run", "line").returncode == 0
    finally:
        modelrail("down")
    made = find_release(open_repository(project), "line")
    trainer = code / "pipeline/steps/train/training.py"
    story.commit(
        "Train otherwise", code, {"pipeline/steps/train/training.py": trainer.read_text() + "\nTODAY = True\n"}
    )
    assert '"action": "run"' in modelrail("plan", "line", "--json").stdout, "the key of train is another one now"
    done = modelrail("rebuild", "line@v1.0.0", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["proven"]
    assert found["code"] == made.evidence.code
    assert [each["found"] for each in found["proofs"] if each["step"] == "train"] == [made.evidence.artifacts["train"]]


def test_only_what_was_there_before_the_release_is_copied(release: Release, tmp_path: Path) -> None:
    specs = copy_specs(open_repository(Path.cwd()), release, tmp_path)
    assert as_person(specs, ANN, "tag").split() == ["line#local#1", "line#prod#1", "line@v1.0.0"]
    assert as_person(specs, ANN, "rev-parse", "HEAD").strip() == release.evidence.spec_commit
    assert (specs / "../data/.git").is_dir()
    assert as_person(specs / "../data", ANN, "rev-parse", "HEAD").strip() == release.evidence.data_commit


def test_a_data_commit_that_no_branch_has_any_more_is_copied_too(tmp_path: Path) -> None:
    """Rewrite the data's history after a release: the commit is still in the repository, reachable from nowhere."""
    story = Story(tmp_path)
    for each in (story.project, story.data):
        subprocess.run(["git", "init", "-q", "-b", "main", str(each)], check=True)
    lost = story.commit("Wrong", story.data, {"parts/2024-01.csv": table(3)})
    as_person(story.data, ANN, "commit", "-q", "--amend", "-m", "Right")
    spec = story.commit("A line", story.project, {"models/line.yaml": SPEC})
    release = made_of(story, data_commit=lost, spec_commit=spec)
    specs = copy_specs(open_repository(story.project), release, tmp_path / "folder")
    assert as_person(specs / "../data", ANN, "rev-parse", "HEAD").strip() == lost


def made_of(story: Story, **changes: Any) -> Release:
    from tests.delivery.test_releases import evidence

    facts = {"data_repository": "../data", "spec_path": "models/line.yaml", **changes}
    return record(open_repository(story.project), "line", evidence(**facts))[0]


def test_a_commit_that_is_not_here_is_named_with_what_gets_it(release: Release, tmp_path: Path) -> None:
    lost = replace(release, evidence=replace(release.evidence, data_commit="1" * 40))
    with pytest.raises(InputError, match=r"rebuild: found no commit 111111111111 in .*data; expected it there"):
        copy_specs(open_repository(Path.cwd()), lost, tmp_path / "a")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth", "1", Path.cwd().as_uri(), str(shallow)], check=True)
    with pytest.raises(InputError, match=r"this clone is shallow: 'git fetch --unshallow' gets the rest"):
        copy_specs(open_repository(shallow), release, tmp_path / "b")


def test_data_that_are_not_beside_the_clone_are_named(release: Release, tmp_path: Path, monkeypatch: Any) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", ".", str(clone)], check=True)
    monkeypatch.chdir(clone)
    done = call("line@v1.0.1")
    assert re.search(r"rebuild: found no folder .*data; expected the data repository", str(done.exception))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("line@v9.9.9",), r"found no release line@v9\.9\.9; expected one of v1\.1\.0"),
        (("lime@v1.0.0",), "found no release of 'lime'"),
        (("line@v1.0.0", "--keep", "."), "--keep: found .; expected a folder that is not there yet"),
    ],
)
def test_what_cannot_be_rebuilt_is_told(at_project: Story, arguments: tuple[str, ...], message: str) -> None:
    assert re.search(message, str(call(*arguments).exception))


def test_other_libraries_and_differences_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    proofs = (
        *(Proof("clean", f"2024-{month:02}", "a" * 64, "a" * 64, True) for month in range(1, 13)),
        Proof("clean", "2025-01", "a" * 64, "a" * 64, False),
        Proof("train", None, "b" * 64, "c" * 64, False, "numpy: 1.0 → 2.0"),
    )
    then, now = {"numpy": "1.0", "python": "3.11.7"}, {"numpy": "2.0", "python": "3.11.7"}
    done = Rebuilt("m@v1.0.0", "folder", "modelrail 0.1.0", then, now, proofs, ("a note",), 1.0)
    assert not done.proven
    show_rebuild(done)
    said = capsys.readouterr().out
    assert re.search(r"numpy +1\.0 +2\.0", said)
    assert "1 others as recorded (2 versions)" in said
    assert re.search(r"clean +12 partitions +the same +the same", said)
    assert re.search(r"clean +2025-01 +a{12} +the same +DIFFER", said)
    assert re.search(r"train +c{12} +DIFFER +DIFFER +numpy: 1\.0 → 2\.0", said)
    assert "a note" in said


def test_the_code_that_runs_is_in_a_checkout() -> None:
    checkout = code_checkout()
    assert checkout is not None
    assert checkout.root == CHECKOUT
