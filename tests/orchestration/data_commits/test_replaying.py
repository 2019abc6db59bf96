"""A scheduled date run anew computes only what its data changed, through the steps as Airflow runs them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.runs.opened_run import OpenedRun
from pipeline.runs.plan.planning import ORDER
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import Outcome, close_run, open_run, outcome_of, run_step
from pipeline.runs.tracking.walk_forward import TAG, read_curve
from tests.conftest import Commit

pytestmark = pytest.mark.filterwarnings("default")

SPEC = """
model: {name: late, trainer: ridge, target: delay}
data: {files: "data/{month}.csv", columns: {id: int, distance: float, delay: float}, key: [id]}
features: {select: [distance]}
evaluate: {metrics: [mae], bootstrap: 20}
schedule: {cron: "0 3 1 * *", on_data_commit: every, replay: true}
"""
WHOLE = ("normalize", "train", "evaluate")


def month(number: int, seed: int = 0) -> str:
    draw = random.Random(number + 100 * seed)
    rows = ((number * 1000 + row, draw.uniform(100, 3000)) for row in range(120))
    return "id,distance,delay\n" + "".join(f"{key},{far:.1f},{far / 50 + draw.gauss(0, 5):.1f}\n" for key, far in rows)


@pytest.fixture
def spec(project: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Commit a spec and three months; what is deployed of it is stopped afterwards."""
    monkeypatch.chdir(project)
    data: dict[str, str | bytes] = {f"data/2013-{number:02}.csv": month(number) for number in (1, 2, 3)}
    commit({"models/late.yaml": SPEC, ".gitignore": ".modelrail/\n", **data})
    yield project / "models/late.yaml"
    stop_all(project / ".modelrail")


def replay(spec: Path, commit: str, as_of: str, meanwhile: RunRequest | None = None) -> tuple[str, Counter[str]]:
    """Run a date as the tasks of a backfill do; give the outcome and how much of each step was computed.

    Parameters
    ----------
    meanwhile : RunRequest, optional
        What is run before the replay is closed.
    """
    opened = open_run(RunRequest(str(spec), data_commit=commit, as_of=as_of, replay=True))
    outcome, ran = run_steps(opened)
    if meanwhile:
        assert run_steps(open_run(meanwhile))[0] == "released"
    close_run(opened, outcome)
    return outcome, ran


def run_steps(opened: OpenedRun) -> tuple[Outcome, Counter[str]]:
    ran: Counter[str] = Counter()
    results = []
    for step in ORDER:
        for batch in (opened.batches or [()]) if step in ("clean", "transform") else [None]:
            if batch == ():
                continue
            found = run_step(step, opened, batch)
            ran[step] += found.ran
        if step == "release":
            results.append(StepResult(step, found.action, "", facts=found.facts))
    return outcome_of(results), +ran


def curve_of(project: Path, commit: str) -> list[str]:
    client = MlflowClient(f"sqlite:///{project / '.modelrail' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("late")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id], f"tags.`{TAG}` = '{commit}'")
    return [each.as_of.isoformat() for each in read_curve(client, run.info.run_id, "mae")]


def test_a_release_made_meanwhile_loses_no_point_of_a_replay(spec: Path, commit: Commit, project: Path) -> None:
    tip = commit(subject="the three months")
    replay(spec, tip, "2013-02-01", meanwhile=RunRequest(str(spec)))
    assert curve_of(project, tip) == ["2013-02-01"]


def test_a_replay_computes_only_what_the_commit_changed(spec: Path, commit: Commit, project: Path) -> None:
    before = commit(subject="the three months")
    whole = Counter(dict.fromkeys(WHOLE, 1))
    january, february, march = "2013-02-01", "2013-03-01", "2013-04-01"
    first = [replay(spec, before, date) for date in (january, february, march)]
    one = Counter({"clean": 1, "transform": 1}) + whole
    assert first == [("not released", one)] * 3, "each date adds the one month that it is the first to see"

    after = commit({"data/2013-02.csv": month(2, seed=1)}, "February, corrected")
    again = {date: replay(spec, after, date)[1] for date in (january, february, march)}
    assert again[january] == Counter(), "it does not see the month that changed"
    assert again[february] == one, "the changed month, and what is made of all"
    assert again[march] == whole, "the changed month was computed for the date before"
    assert replay(spec, after, march) == ("not released", Counter()), "a repeated date computes nothing"
    assert curve_of(project, before) == [january, february, march]
    assert curve_of(project, after) == [january, february, march], "reused dates are part of the evaluation"
