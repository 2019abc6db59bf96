"""A monthly model: what tests it moves on as months arrive."""

from __future__ import annotations

import json
import random
from calendar import monthrange
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.releases import releases
from pipeline.errors import DataError
from pipeline.runs.job import open_job
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from pipeline.runs.session import Session
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit

SPEC = """
model: {name: m, trainer: ridge, task: regression, target: y}
data:
  files: data/{month}.csv
  columns: {at: datetime, x: float, y: float}
features: {drop: [at]}
split: {by: time, column: at, test: 2 months, validation: 1 month}
evaluate: {bootstrap: 0}
deploy: {port: 0}
"""


def month(number: int) -> str:
    draw, days = random.Random(number), range(1, monthrange(2013, number)[1] + 1)
    rows = [f"2013-{number:02}-{day:02}T{draw.randrange(24):02}:00,{day}.{number},{2 * day}" for day in days]
    return "\n".join(["at,x,y", *rows]) + "\n"


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    files: dict[str, str | bytes] = {f"data/2013-{number:02}.csv": month(number) for number in range(1, 6)}
    commit({"models/m.yaml": SPEC, ".gitignore": ".modelrail/\n", **files})
    return live_project / "models/m.yaml"


def run_job(spec: Path, **changes: Any) -> tuple[str, dict[str, StepResult]]:
    outcome, results = run(RunRequest(str(spec), **changes), report=lambda _: None)
    return outcome, {each.step: each for each in results}


def sides(spec: Path, **changes: Any) -> dict[str, int]:
    session = Session(open_job(RunRequest(str(spec), **changes)))
    found: dict[str, int] = session.chain.artifact("normalize").manifest["sides"]
    return found


def test_a_new_month_moves_the_bounds_and_transforms_only_what_they_cross(spec: Path, commit: Commit) -> None:
    outcome, results = run_job(spec)
    assert outcome == "released"
    assert results["evaluate"].reason.startswith("61 test rows from 2013-04-01T00:00:00: ")
    assert sides(spec) == {"train": 59, "validate": 31, "test": 61}
    (release,) = releases(open_repository(spec.parent), "m")
    assert release.evidence.split == {"validation_from": "2013-03-01T00:00:00", "test_from": "2013-04-01T00:00:00"}
    session = Session(open_job(RunRequest(str(spec))))
    card = session.chain.artifact("evaluate").file("model-card.md").read_text()
    assert "| Test rows from | 2013-04-01T00:00:00 |" in card

    assert run_job(spec)[0] == "unchanged"

    commit({"data/2013-06.csv": month(6)})
    reasons = {(each.step, each.partition): each.reason for each in Session(open_job(RunRequest(str(spec)))).plan()}
    assert reasons["transform", "2013-06"]
    outcome, results = run_job(spec)
    assert outcome == "released"
    assert sides(spec) == {"train": 90, "validate": 30, "test": 61}
    transformed = results["transform"]
    # March trains by now, April validates; May still tests, and what trained before still trains
    assert (transformed.ran, transformed.reused) == (3, 3)
    assert [each.tag for each in releases(open_repository(spec.parent), "m")] == ["m@v1.0.0", "m@v1.0.1"]


def test_a_partition_says_that_the_bounds_moved(spec: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"models/m.yaml": SPEC.replace("2 months", "3 months")})
    reasons = {each.partition: each.reason for each in Session(open_job(RunRequest(str(spec)))).plan()
               if (each.step, each.action) == ("transform", "run")}  # fmt: skip
    moved = "the times that part training, validation and test moved"
    assert reasons == {"2013-02": moved, "2013-03": moved}


def test_as_of_a_date_the_bounds_count_back_from_the_newest_row_until_then(spec: Path) -> None:
    run_job(spec, as_of="2013-04-30")
    session = Session(open_job(RunRequest(str(spec), as_of="2013-04-30")))
    assert str(session.chain.split().test_from) == "2013-03-01 00:00:00"
    assert sides(spec, as_of="2013-04-30") == {"train": 31, "validate": 28, "test": 61}
    with pytest.raises(DataError, match="so that none trains"):
        run_job(spec, as_of="2013-02-28")


def test_a_share_of_the_time_line_tests(spec: Path, commit: Commit) -> None:
    commit({"models/m.yaml": SPEC.replace("2 months, validation: 1 month", "20%, validation: 0.1")})
    run_job(spec)
    found = sides(spec)
    assert found == {"train": 105, "validate": 15, "test": 31}


def test_bounds_in_a_step_alone_are_those_of_the_run(spec: Path) -> None:
    run_job(spec)
    evaluated = Session(open_job(RunRequest(str(spec)))).chain.artifact("evaluate")
    assert json.loads(evaluated.file("evaluation.json").read_bytes())["candidate"]["rows"] == 61
