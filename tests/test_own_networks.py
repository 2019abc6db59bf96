"""A network of the user's own, beside the spec in Git."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SpecError
from pipeline.job import RunRequest, open_job
from pipeline.past_specs import load_spec_at
from pipeline.recipes import method_of
from pipeline.repository import open_repository
from pipeline.spec.loading import load_spec

from .conftest import Commit

SPEC = "model:\n  name: own\n  trainer: torch_custom\n  params:\n    module: wide.py\n"


@pytest.fixture
def spec(project: Path, commit: Commit) -> Path:
    commit({"models/own.yaml": SPEC, "models/wide.py": "one", ".gitignore": ".modelrail/\n"})
    return project / "models/own.yaml"


def key(spec: Path) -> str:
    return method_of("train", load_spec(spec).spec).digest


def test_another_text_of_the_network_is_another_model(spec: Path) -> None:
    before = key(spec)
    assert key(spec) == before
    spec.with_name("wide.py").write_text("two")
    assert key(spec) != before


def test_a_network_that_is_not_committed_keeps_a_model_from_its_release(spec: Path) -> None:
    assert open_job(RunRequest(str(spec))).uncommitted == ()
    spec.with_name("wide.py").write_text("two")
    assert open_job(RunRequest(str(spec))).uncommitted == ("models/wide.py",)


def test_the_spec_of_a_commit_has_the_network_of_that_commit(spec: Path, project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    first = repository.commit().id
    commit({"models/wide.py": "two"})
    sources = [load_spec_at(repository, each, "models/own.yaml", None).model.params["module"]["source"]
               for each in (first, "HEAD")]  # fmt: skip
    assert sources == ["one", "two"]


def test_a_network_that_is_not_there_is_told_at_its_place(spec: Path) -> None:
    spec.with_name("wide.py").unlink()
    with pytest.raises(SpecError) as caught:
        load_spec(spec)
    assert str(caught.value) == (
        f"{spec}:5:13: model.params.module: found 'wide.py', which cannot be read beside the spec (FileNotFoundError); "
        "expected a Python file in the spec's folder"
    )


@pytest.mark.parametrize("name", ["../x.py", "a/b.py", "x.txt", "/etc/x.py"])
def test_only_a_python_file_beside_the_spec_is_run(spec: Path, name: str) -> None:
    spec.write_text(SPEC.replace("wide.py", name))
    with pytest.raises(SpecError, match="expected the name of a Python file beside the spec"):
        load_spec(spec)
