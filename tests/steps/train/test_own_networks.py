"""A network of the user's own, beside the spec in Git."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SpecError
from pipeline.runs.committed_specs import load_spec_at
from pipeline.runs.job import open_job
from pipeline.runs.plan.recipes import methods_of
from pipeline.runs.request import RunRequest
from pipeline.spec.loading.loading import load_spec
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit

SPEC = "model:\n  name: own\n  trainer: torch_custom\n  params:\n    module: wide.py\n"
ONE, TWO = "def build(inputs, outputs): one", "def build(inputs, outputs): two"


@pytest.fixture
def spec(project: Path, commit: Commit) -> Path:
    commit({"models/own.yaml": SPEC, "models/wide.py": ONE, ".gitignore": ".modelrail/\n"})
    return project / "models/own.yaml"


def key(spec: Path) -> str:
    return methods_of(load_spec(spec).spec)["train"].digest


def test_another_text_of_the_network_is_another_model(spec: Path) -> None:
    before = key(spec)
    assert key(spec) == before
    spec.with_name("wide.py").write_text(TWO)
    assert key(spec) != before


def test_a_network_that_is_not_committed_keeps_a_model_from_its_release(spec: Path) -> None:
    assert open_job(RunRequest(str(spec))).uncommitted == ()
    spec.with_name("wide.py").write_text(TWO)
    assert open_job(RunRequest(str(spec))).uncommitted == ("models/wide.py",)


def test_the_spec_of_a_commit_has_the_network_of_that_commit(spec: Path, project: Path, commit: Commit) -> None:
    repository = open_repository(project)
    first = repository.commit().id
    commit({"models/wide.py": TWO})
    sources = [load_spec_at(repository, each, "models/own.yaml", None).model.params["module"]["source"]
               for each in (first, "HEAD")]  # fmt: skip
    assert sources == [ONE, TWO]


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


@pytest.mark.parametrize(
    ("source", "key", "found", "expected"),
    [
        ("\ndef build(inputs, outputs)\n", "module", "'wide.py', whose line 2 is no Python (expected ':')", None),
        ("def make(inputs, outputs): ...\n", "module", "'wide.py' without a function build", None),
        ("def build(inputs, outputs): ...\n", "arguments",
         "'width', which build in line 1 of 'wide.py' does not take", "none besides inputs and outputs"),
        ("\ndef build(inputs, outputs, *, depth, widht=1): ...\n", "arguments",
         "'width', which build in line 2 of 'wide.py' does not take", "'depth' or 'widht'"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_network_is_told_before_anything_runs(
    spec: Path, source: str, key: str, found: str, expected: str | None
) -> None:
    spec.write_text(SPEC + "    arguments: {width: 4}\n")
    spec.with_name("wide.py").write_text(source)
    with pytest.raises(SpecError) as caught:
        load_spec(spec)
    wanted = expected or "a Python file with a function build(inputs, outputs, …) that gives a network"
    line = {"module": "5:13", "arguments": "6:16"}[key]
    assert str(caught.value.problems[0]) == f"{spec}:{line}: model.params.{key}: found {found}; expected {wanted}"


def test_an_argument_that_the_network_needs_and_is_not_given_is_told(spec: Path) -> None:
    spec.with_name("wide.py").write_text("def build(inputs, outputs, width, depth=2): ...\n")
    with pytest.raises(SpecError, match=r"nothing for 'width' of build in line 1 of 'wide\.py'; expected a value"):
        load_spec(spec)


@pytest.mark.parametrize(
    "source",
    [
        "from shared import build\n",
        "from shared import *\n",
        "build = make = lambda inputs, outputs, width: None\n",
        "if True:\n    def build(inputs, outputs, width): ...\n",
        "class build: ...\n",
        "def build(inputs, outputs, **others): ...\n",
        "def build(inputs, outputs, /, width=2): ...\n",
        "def build(*both, width): ...\n",
    ],
)
def test_a_network_that_may_well_work_is_left_to_its_training(spec: Path, source: str) -> None:
    spec.write_text(SPEC + "    arguments: {width: 4}\n")
    spec.with_name("wide.py").write_text(source)
    assert load_spec(spec).spec.model.params["module"]["source"] == source
