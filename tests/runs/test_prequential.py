"""The live release on rows that came after it, before anything is trained on them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.delivery.releases import releases
from pipeline.runs.at_commit import job_behind, job_with_newer_data
from pipeline.runs.computing import fill
from pipeline.runs.prequential import Point, evaluate_newest, points_of
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import close_run, open_run, run, run_step
from pipeline.runs.session import Session
from pipeline.runs.tracking import DirectRecorder
from pipeline.runs.tracking.runs import open_client
from pipeline.runs.work.unseen_rows import gather_unseen
from pipeline.storage.artifacts import FolderStore
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit
from tests.databases import Databases

SPEC = """
model: {name: late, trainer: logistic_regression, target: late}
data:
  files: data/{month}.csv
  columns: {id: int, delay: float, carrier: str, arrival: float}
  derive: {late: arrival > 15}
  key: [id]
  max_missing_target: 1
clean: {duplicates: drop}
features: {select: [delay, carrier]}
evaluate: {metrics: [roc_auc, accuracy], bootstrap: 50}
deploy: {port: 0}
"""

Row = tuple[int, float, str, str]


def rows(month: int, count: int = 400, *, flipped: bool = False) -> list[Row]:
    draw = random.Random(month)
    found = []
    for row in range(count):
        delay = draw.gauss(10, 20)
        arrival = (30 - delay if flipped else delay) + draw.gauss(0, 10)
        found.append((month * 1000 + row, round(delay, 1), draw.choice(["AA", "UA"]), f"{arrival:.1f}"))
    return found


def csv(content: Sequence[Row]) -> str:
    return "\n".join(["id,delay,carrier,arrival", *(",".join(map(str, each)) for each in content), ""])


@pytest.fixture
def released(live_project: Path, commit: Commit) -> Path:
    months = {f"data/2013-0{number}.csv": csv(rows(number)) for number in (1, 2)}
    commit(months | {"models/late.yaml": SPEC, ".gitignore": ".modelrail/\n"})
    run(RunRequest("models/late.yaml"), lambda _: None)
    return live_project


def points(project: Path) -> list[Point]:
    (first, *_) = releases(open_repository(project), "late")
    return points_of(FolderStore(project / ".modelrail/store"), first)


def nothing_to_tell() -> DirectRecorder:
    raise AssertionError


def test_a_run_evaluates_what_is_live_on_the_rows_that_it_has_never_seen(
    released: Path, commit: Commit, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[StepResult] = []
    tracking = databases.copy_mlflow(released.parent / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking)
    newer = commit({"data/2013-03.csv": csv(rows(3, flipped=True)), "data/2013-01.csv": csv(rows(1)[::-1])})
    run(RunRequest("models/late.yaml"), told.append)
    (point,) = points(released)
    assert (point.release, point.data_commit, point.rows) == ("late@v1.0.0", newer, 400)  # a new order is no new row
    auc, tested = point.metrics["roc_auc"], releases(open_repository(released), "late")[0].evidence.metrics["roc_auc"]
    assert auc.high is not None
    assert tested["low"] is not None
    assert auc.high < tested["low"]
    (said,) = [each.reason for each in told if each.step == "normalize"]
    assert f"; {point.text}" in said
    assert f"late@v1.0.0 on 400 rows that it has never seen (data {newer[:10]}): roc_auc " in said
    client = open_client(tracking)
    experiment = client.get_experiment_by_name("late")
    found = client.search_runs([experiment.experiment_id], "tags.`modelrail.prequential` = 'late@v1.0.0'")
    history = client.get_metric_history(found[0].info.run_id, "roc_auc")
    assert [(each.timestamp, each.value) for each in history] == [(int(point.at) * 1000, auc.value)]
    assert found[0].data.metrics["roc_auc.tested"] == tested["value"]


def test_it_is_computed_once_also_without_a_run(released: Path, commit: Commit, tracking: str) -> None:
    repository, store = open_repository(released), FolderStore(released / ".modelrail/store")
    (live,) = releases(repository, "late")
    assert evaluate_newest(live, repository, store, nothing_to_tell) is None  # there is no newer commit
    commit({"docs.md": "no data"})
    assert evaluate_newest(live, repository, store, nothing_to_tell) is None
    commit({"data/2013-03.csv": csv(rows(3))})
    point = evaluate_newest(live, repository, store, lambda: DirectRecorder(tracking, released / "mlartifacts"))
    assert point is not None
    assert point.rows == 400
    assert evaluate_newest(live, repository, store, nothing_to_tell) == point
    assert points(released) == [point]


def test_rows_are_new_by_what_they_are(released: Path, commit: Commit) -> None:
    """Not by their file: some moved, one repeats, and of some the truth was not known before."""
    repository = open_repository(released)
    without = [(*each[:3], "") for each in rows(4, 50)]
    commit({"data/2013-04.csv": csv(without)})
    run(RunRequest("models/late.yaml"), lambda _: None)
    live = releases(repository, "late")[-1]
    labelled, extra = rows(4, 50), rows(5, 3)
    commit(
        {
            "data/2013-04.csv": csv([*labelled, *rows(1)[:100]]),
            "data/2013-05.csv": csv(extra),
            "data/2013-06.csv": csv(extra),
        }
    )
    jobs = [job_behind(live, repository), job_with_newer_data(live, repository)]
    sessions = [Session(job) for job in jobs]
    for session in sessions:
        fill("clean", session, 1)
        fill("transform", session, 1)
    found = gather_unseen(sessions[0].inputs, sessions[1].inputs, ["delay", "carrier"])
    assert found["delay"].tolist() == [each[1] for each in (*labelled, *extra)]


def test_a_run_goes_on_where_the_live_release_cannot_be_evaluated(released: Path, commit: Commit) -> None:
    """Its own spec finds no partition any more."""
    (released / "data/2013-01.csv").unlink()
    (released / "data/2013-02.csv").unlink()
    spec = SPEC.replace("data/{month}", "months/{month}")
    commit({"months/2013-03.csv": csv(rows(3)), "models/late.yaml": spec})
    told: list[StepResult] = []
    outcome, _ = run(RunRequest("models/late.yaml"), told.append)
    assert outcome == "released"
    (warned,) = [each.warnings for each in told if each.step == "normalize"]
    assert warned[-1].startswith("what is live was not evaluated on the new rows: .")
    assert "found no file that matches 'data/{month}.csv'" in warned[-1]


def test_tasks_of_a_scheduled_run_do_it_too(released: Path, commit: Commit) -> None:
    commit({"data/2013-03.csv": csv(rows(3))})
    opened = open_run(RunRequest("models/late.yaml"))
    for step in ("clean", "transform"):
        run_step(step, opened)
    assert points(released) == []
    result = run_step("normalize", opened)
    (point,) = points(released)
    assert point.text in result.reason
    close_run(opened, "not released")


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_a_damaged_note_is_made_anew(released: Path, commit: Commit, tracking: str, content: bytes) -> None:
    repository, store = open_repository(released), FolderStore(released / ".modelrail/store")
    (live,) = releases(repository, "late")
    commit({"data/2013-03.csv": csv(rows(3))})
    recorder = DirectRecorder(tracking, released / "mlartifacts")
    first = evaluate_newest(live, repository, store, lambda: recorder)
    (note,) = (released / ".modelrail/store/notes/prequential").rglob("*.json")
    assert json.loads(note.read_bytes())["rows"] == 400
    note.write_bytes(content)
    assert points(released) == []
    assert evaluate_newest(live, repository, store, lambda: recorder) == first
