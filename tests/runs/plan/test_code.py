"""The code in a key: whatever a step runs is in it, whatever cannot change a result is not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.home import PACKAGE
from pipeline.runs.plan import code
from pipeline.runs.plan.code import code_of, digests_of, is_neutral, split
from pipeline.runs.plan.recipes import STEPS
from tests.conftest import Commit

Codes = dict[str, set[str]]

UNREAD = {
    "pipeline.runs.work.unseen_rows": "evaluates a release; its code is in the name of the note that is kept of it",
    "pipeline.steps.evaluate.walk_forward": "adds up what earlier runs evaluated",
    "pipeline.steps.clean.reading.blocks": "reads batches, which no step does",
    "pipeline.steps.clean.reading.cutting": "reads batches, which no step does",
}
"""Modules of the steps and of their work that stand in no key → why they need not."""

SPECS = {
    "a search, texts, several partitions": """
model: {name: m, trainer: ridge, task: regression, target: y, search: {space: {alpha: [0.1, 1.0]}, trials: 2}}
data: {files: "data/{p}.csv", derive: {z: a * 2}, key: [a]}
clean: {missing: {a: median, b: drop}, outliers: {a: {by: iqr}}, duplicates: drop}
transform: {t: tfidf, b: {kind: bins, count: 3}}
evaluate: {bootstrap: 10, slices: [z]}
""",
    "trees and early stopping": """
model: {name: m, trainer: hist_gradient_boosting, task: regression, target: y, early_stopping: {patience: 2}}
data: {files: "data/{p}.csv"}
evaluate: {bootstrap: 10}
""",
}
RUN = """
import json, sys, threading
from pipeline.runs.computing import compute
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.session import Session
from pipeline.runs.work.table import LOADERS

entered = {}
def watched(step, work):
    def profile(frame, event, _):
        name = frame.f_globals.get("__name__", "")
        if event == "call" and name.startswith("pipeline."):
            entered[step].add(name)
    def run(*arguments):
        entered.setdefault(step, set())
        threading.setprofile(profile); sys.setprofile(profile)
        try:
            return work(*arguments)
        finally:
            sys.setprofile(None); threading.setprofile(None)
    return run

session = Session(open_job(RunRequest("models/m.yaml")))
for step, load in list(LOADERS.items()):
    LOADERS[step] = lambda step=step, load=load: watched(step, load())
    compute(step, session, None, 1)
print(json.dumps({step: sorted(names) for step, names in entered.items()}))
"""


WORDS = ("good", "bad", "fair")


def rows(first: int) -> str:
    lines = [f"{i % 17 + first},{i % 5},{WORDS[i % 3]} day,{2 * (i % 17) - i % 5}" for i in range(200)]
    return "\n".join(["a,b,t,y", *lines]) + "\n"


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_key_holds_every_module_that_the_step_enters(spec: str, project: Path, commit: Commit) -> None:
    commit({"models/m.yaml": spec, "data/1.csv": rows(0), "data/2.csv": rows(100)})
    found = subprocess.run([sys.executable, "-c", RUN], cwd=project, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    for step, entered in json.loads(found.stdout.splitlines()[-1]).items():
        missing = {name for name in entered if not is_neutral(name)} - set(code_of(STEPS[step].code))
        assert not missing, step


def test_every_module_of_the_steps_and_of_their_work_is_in_a_key() -> None:
    read = {name for step in STEPS.values() for name in code_of(step.code)}
    places = (path for folder in ("steps", "runs/work") for path in (PACKAGE / folder).rglob("*.py"))
    names = {_name(path) for path in places if (path.parent / "__init__.py").exists()}
    assert {name for name in names - read if not is_neutral(name)} == UNREAD.keys()


@pytest.mark.parametrize("step", STEPS)
def test_a_key_holds_the_modules_that_the_step_names_in_strings(step: str) -> None:
    found = code_of(STEPS[step].code)
    texts = [(PACKAGE.parent / name.replace(".", "/")).with_suffix(".py") for name in found]
    named = {
        each for path in texts if path.exists() for each in re.findall(r'"(pipeline(?:\.\w+)+)"', path.read_text())
    }
    assert named <= set(found)


def test_workers_that_are_started_by_their_name_are_in_the_key_of_train() -> None:
    names = ("worker", "torch_worker", "keras_worker")
    assert {f"pipeline.steps.train.neural.{each}" for each in names} <= set(code_of(STEPS["train"].code))


def test_what_is_neutral_is_there() -> None:
    places = [PACKAGE.parent.joinpath(*name.split(".")) for name in code.NEUTRAL]
    assert [str(each) for each in places if not each.exists() and not each.with_suffix(".py").exists()] == []


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a copy of the package, which keys are computed of."""
    copy = tmp_path / "copy/pipeline"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "CHECKOUT", copy.parent)
    _forget()
    yield copy
    monkeypatch.undo()
    _forget()


def _forget() -> None:
    for each in (code._file, code.read_module, code._linked, code.digests_of):
        each.cache_clear()


def _codes() -> Codes:
    _forget()
    return {step: set(digests_of(what.code).values()) for step, what in STEPS.items()}


def _changed(change: Callable[[], None]) -> set[str]:
    before = _codes()
    change()
    after = _codes()
    return {step for step in STEPS if before[step] != after[step]}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("steps/statistics.py", "steps/measured.py"),
        ("steps/train/neural/torch_worker.py", "steps/train/neural/started_torch.py"),
        ("steps/transform/rows.py", "model/row_graphs.py"),
        ("runs/work/files.py", "runs/work/frames.py"),
    ],
)
def test_a_module_that_moves_changes_no_key(package: Path, old: str, new: str) -> None:
    def move() -> None:
        names = ["pipeline." + each.removesuffix(".py").replace("/", ".") for each in (old, new)]
        (package / old).rename(package / new)
        for each in package.rglob("*.py"):
            text = each.read_text("utf-8")
            each.write_text(re.sub(rf"\b{re.escape(names[0])}\b", names[1], text), "utf-8")

    assert _changed(move) == set()


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ("MAX_DISTINCT = 100_000", "MAX_DISTINCT = 100_001", {"transform", "normalize", "evaluate"}),
        ("import numpy as np", "import numpy as np  # the field's name", set()),
        ('"""Find the moments of', '"""Compute the moments of', set()),
        ("\n\ndef measure(", "\n\n\ndef measure(", set()),
        (": {distinct:,} different", ": {distinct:,} distinct", {"transform", "normalize", "evaluate"}),
        ("from pipeline.steps.quantiles import Doubles", "from pipeline.steps.row_hashes import Doubles",
         {"transform", "normalize", "evaluate"}),
    ],
)  # fmt: skip
def test_a_change_in_a_module_changes_the_keys_if_it_can_change_a_result(
    package: Path, before: str, after: str, steps: set[str]
) -> None:
    def edit() -> None:
        path = package / "steps/statistics.py"
        text = path.read_text("utf-8")
        assert before in text
        path.write_text(text.replace(before, after, 1), "utf-8")

    assert _changed(edit) == steps


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ('"""Of a module."""\nA = 1\n"""Of a value."""\n', []),
        ("def f():\n    r'''Of a function.'''\n    return 'x'  # why\n", ["'x'"]),
        ('f(\n    """no docstring"""\n)\n', ['"""no docstring"""']),
        ('x = \\\n"""no docstring"""\n', ['"""no docstring"""']),
        ('{"#": 1}  # "none"\n', ['"#"']),
        ('\'it\\\'s\' + """ "one" \\""" """', ["'it\\'s'", '""" "one" \\""" """']),
    ],
)
def test_docstrings_and_comments_are_no_code(source: str, kept: list[str]) -> None:
    assert split(source)[1] == kept
