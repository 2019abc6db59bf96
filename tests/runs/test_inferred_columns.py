"""Columns that the spec does not declare, or a file lacks."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pipeline.delivery.releases import releases
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from pipeline.runs.session import Session
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit

SPEC = """
model: {name: m, trainer: logistic_regression, target: y}
data: {files: "data/{part}.csv"MORE}
evaluate: {bootstrap: 0}
deploy: {port: 0}
"""


def table(*names: str) -> str:
    draw = random.Random(1)
    lines = [",".join(names)]
    for _ in range(200):
        x = draw.gauss(0, 1)
        row = {"x": f"{x:.3f}", "at": f"{1_360_000_000 + draw.randrange(3600)}", "y": str(x > 0).lower()}
        lines.append(",".join(row[name] for name in names))
    return "\n".join(lines) + "\n"


def run_job(spec: Path) -> tuple[str, dict[str, StepResult]]:
    outcome, results = run(RunRequest(str(spec)), report=lambda _: None)
    return outcome, {each.step: each for each in results}


@pytest.mark.parametrize("more", ["", ", columns: {x: float}, extra_columns: infer"])
def test_an_inferred_flag_is_predicted_as_true_and_false(live_project: Path, commit: Commit, more: str) -> None:
    spec = live_project / "models/m.yaml"
    commit({"models/m.yaml": SPEC.replace("MORE", more), "data/a.csv": table("x", "y"), ".gitignore": ".modelrail/\n"})
    outcome, results = run_job(spec)
    assert outcome == "released"
    facts = results["verify"].facts
    assert isinstance(facts.prediction, bool)
    assert isinstance(facts.truth, bool)
    (release,) = releases(open_repository(spec.parent), "m")
    assert release.evidence.signature["classes"] == [False, True]
    evaluated = Session(open_job(RunRequest(str(spec)))).chain.artifact("evaluate")
    assert json.loads(evaluated.file("evaluation.json").read_bytes())["candidate"]["classes"] == [False, True]


def test_a_file_may_lack_an_optional_column_and_digits_that_get_lost_are_told(
    live_project: Path, commit: Commit
) -> None:
    spec = live_project / "models/m.yaml"
    columns = ", columns: {x: float, at: {type: float, optional: true}, y: bool}"
    text = SPEC.replace("MORE", columns) + "normalize: {at: none}\n"
    data = {"data/a.csv": table("x", "y"), "data/b.csv": table("x", "at", "y")}
    commit({"models/m.yaml": text, ".gitignore": ".modelrail/\n", **data})
    outcome, results = run_job(spec)
    assert outcome == "released"
    (said,) = results["normalize"].warnings
    assert said.startswith("'at': the model is given 32-bit numbers")
