"""Metrics that are not worth much: of few test rows, or by a column that gives the target away."""

from __future__ import annotations

from pathlib import Path

from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from pipeline.runs.session import Session
from tests.conftest import Commit

SPEC = """
model: {name: m, trainer: ridge, task: regression, target: y}
data: {files: "data/{part}.csv", columns: {x: float, later: float, y: float}}
evaluate: {metrics: [mae], MORE}
deploy: {port: 0}
"""


def table(rows: int) -> str:
    return "x,later,y\n" + "".join(f"{row * 7 % 13},{row * 31 % 97 * 2},{row * 31 % 97}\n" for row in range(rows))


def run_job(spec: Path) -> tuple[str, dict[str, StepResult]]:
    outcome, results = run(RunRequest(str(spec)), report=lambda _: None)
    return outcome, {each.step: each for each in results}


def test_a_model_is_not_released_on_a_few_test_rows_unless_that_is_allowed(live_project: Path, commit: Commit) -> None:
    spec = live_project / "models/m.yaml"
    files: dict[str, str | bytes] = {"data/a.csv": table(30), ".gitignore": ".modelrail/\n"}
    commit({"models/m.yaml": SPEC.replace("MORE", "bootstrap: 20"), **files})
    outcome, results = run_job(spec)
    assert outcome == "not released"
    tested = Session(open_job(RunRequest(str(spec)))).chain.artifact("evaluate").manifest["rows"]
    assert 0 < tested < 10
    assert f"({tested} test rows instead of at least 10 (evaluate.min_rows): failed)" in results["release"].reason
    assert any(f"judged on {tested} test rows; expected at least 30" in each for each in results["evaluate"].warnings)
    commit({"models/m.yaml": SPEC.replace("MORE", "bootstrap: 20, min_rows: 1")})
    outcome, results = run_job(spec)
    assert outcome == "released"
    assert results["release"].facts.metrics["mae"]["low"] is None
    card = Session(open_job(RunRequest(str(spec)))).chain.artifact("evaluate").file("model-card.md").read_text()
    assert "of fewer than 10 rows, resamples say nothing of others" in card


def test_a_column_that_gives_the_target_away_is_told_by_the_run_and_the_card(
    live_project: Path, commit: Commit
) -> None:
    spec = live_project / "models/m.yaml"
    data = {"data/a.csv": table(900), ".gitignore": ".modelrail/\n"}
    commit({"models/m.yaml": SPEC.replace("MORE", "bootstrap: 0"), **data})
    (said,) = run_job(spec)[1]["evaluate"].warnings
    assert said.startswith("'later' alone gives the target (r2 ")
    (again,) = run_job(spec)[1]["evaluate"].warnings
    assert again == said
    card = Session(open_job(RunRequest(str(spec)))).chain.artifact("evaluate").file("model-card.md").read_text()
    assert "'later' alone gives the target" in card
