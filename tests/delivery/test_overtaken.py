"""Somebody promotes or rolls back while a run goes on: who speaks last in Git has the last word."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.local.deployments import live
from pipeline.delivery.promotion import promote, rollback
from pipeline.delivery.releases import find_release
from pipeline.delivery.stages import assign, current
from pipeline.errors import OvertakenError
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import open_run, run, run_step
from pipeline.serving.client import predict
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit

SPEC = """
model: {name: line, trainer: linear_regression, target: y}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], gate: {rmse: {behind_champion_at_most: 100}}, bootstrap: 0}
deploy: {port: 0}
"""


def part(slope: float) -> str:
    return "x,y\n" + "".join(f"{x / 10},{slope * x / 10 + 1}\n" for x in range(60))


def run_job(spec: Path, after: str = "", act: Callable[[], Any] = lambda: None) -> dict[str, StepResult]:
    """Run all, and do something as soon as a step has ended."""

    def report(result: StepResult) -> None:
        if result.step == after:
            act()

    _, results = run(RunRequest(str(spec)), report)
    return {each.step: each for each in results}


def served(project: Path) -> str:
    deployment = live("line", project / ".modelrail")
    assert deployment is not None
    return predict(deployment.address, {"x": 1.0}).version


def back() -> None:
    rollback("line", None, "local", why="it is wrong")


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    """Return a model with two releases, the second of which is live."""
    commit({"models/line.yaml": SPEC, "data/1.csv": part(2), ".gitignore": ".modelrail/\n"})
    path = live_project / "models/line.yaml"
    run_job(path)
    commit({"data/2.csv": part(3)})
    run_job(path)
    return path


def test_a_release_that_is_rolled_back_while_its_run_goes_on_is_not_deployed(spec: Path, project: Path) -> None:
    for step in ("clean", "evaluate", "release"):
        found = run_job(spec, step, back)
        assert found["deploy"].action == found["verify"].action == "skipped", step
        assert "line@v1.0.1 is held, since local was rolled back from it" in found["deploy"].reason
        assert served(project) == "1.0.0"
        promote("line", "v1.0.1", "local", why="for the next try")


@pytest.mark.parametrize("step", ["evaluate", "release"])
def test_a_candidate_is_held_against_what_is_live_when_it_goes_live(
    spec: Path, project: Path, commit: Commit, step: str
) -> None:
    commit({"data/3.csv": part(4)})
    found = run_job(spec, step, back)
    assert found["deploy"].facts.version == "1.0.2"
    assert served(project) == "1.0.2"
    rolled_back = rollback("line", None, "local", why="to see what was before")
    assert str(rolled_back.stage.version) == "1.0.0", "1.0.1 was withdrawn while 1.0.2 was made"


def test_the_tasks_of_airflow_see_it_too(spec: Path, project: Path, commit: Commit) -> None:
    opened = open_run(RunRequest(str(spec)))
    for step in ("normalize", "train", "evaluate", "release"):
        run_step(step, opened)
    back()
    assert run_step("deploy", opened).action == "skipped"
    assert served(project) == "1.0.0"

    commit({"data/3.csv": part(4)})
    opened = open_run(RunRequest(str(spec)))
    for step in ("clean", "transform", "normalize", "train", "evaluate"):
        run_step(step, opened)
    promote("line", "v1.0.1", "local", why="another is live than the candidate was held against")
    assert run_step("release", opened).facts.tag == "line@v1.0.2"
    assert run_step("deploy", opened).facts.version == "1.0.2"


def test_a_decision_on_what_is_no_longer_so_is_not_recorded(spec: Path, project: Path) -> None:
    repository = open_repository(project)
    first = find_release(repository, "line@v1.0.0")
    with pytest.raises(OvertakenError, match=r"line@v1\.0\.0: found that line#local#2 says what local should have"):
        assign(repository, first, "local", action="deploy", why="", push=False, after=1)
    assert assign(repository, first, "local", action="deploy", why="", push=False, after=2).number == 3


def test_of_two_who_promote_at_once_the_last_in_git_is_what_answers(spec: Path, project: Path) -> None:
    for _ in range(4):
        said: list[str] = []

        def change(version: str, said: list[str] = said) -> None:
            try:
                promote("line", version, "local", why="me first")
            except OvertakenError as error:
                said.append(str(error))

        threads = [threading.Thread(target=change, args=[each]) for each in ("v1.0.0", "v1.0.1")]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        stage = current(open_repository(project), "line", "local")
        assert stage is not None
        assert served(project) == str(stage.version)
        assert all("at the same time" in each for each in said)
