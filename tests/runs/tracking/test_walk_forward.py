"""Replayed dates line up in one MLflow run for each data commit."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.runs.tracking import DirectRecorder, LookedBack
from pipeline.runs.tracking.walk_forward import read_curve

pytestmark = pytest.mark.filterwarnings("default")


def tell(recorder: DirectRecorder, as_of: str, value: float, commit: str = "c" * 40) -> str:
    metrics = {"roc_auc": value, "roc_auc.low": value - 0.1, "roc_auc.high": value + 0.1}
    return recorder.tell(LookedBack("late", commit, as_of, metrics))


def test_dates_become_one_curve_a_data_commit_and_a_date_replayed_twice_keeps_the_newer(tmp_path: Path) -> None:
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    recorder = DirectRecorder(tracking, tmp_path / "artifacts")
    run = tell(recorder, "2013-03-01", 0.7)
    assert tell(recorder, "2013-01-01", 0.5) == run, "dates may come in any order"
    assert tell(DirectRecorder(tracking, tmp_path / "artifacts"), "2013-02-01", 0.6) == run, "each task is a process"
    tell(recorder, "2013-03-01", 0.8)
    other = tell(recorder, "2013-01-01", 0.9, commit="d" * 40)
    assert other != run

    client = MlflowClient(tracking)
    curve = read_curve(client, run, "roc_auc")
    assert [(each.as_of, each.value) for each in curve] == [
        (date(2013, 1, 1), 0.5),
        (date(2013, 2, 1), 0.6),
        (date(2013, 3, 1), 0.8),
    ]
    assert [each.low for each in curve] == pytest.approx([0.4, 0.5, 0.7])
    found = client.get_run(run)
    assert found.info.run_name == f"walk-forward {'c' * 10}"
    assert found.info.status == "FINISHED"
    assert [each.path for each in client.list_artifacts(run)] == ["walk_forward.png"]
    steps = {each.step: each.timestamp for each in client.get_metric_history(run, "roc_auc")}
    assert steps[20130201] == 1_359_676_800_000, "the time stamp is the as-of date"


def test_dates_that_ran_different_specs_are_two_curves(tmp_path: Path) -> None:
    recorder = DirectRecorder(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")

    def look_back(as_of: str, spec: str, spec_commit: str) -> str:
        return recorder.tell(LookedBack("late", "c" * 40, as_of, {"r2": 0.5}, spec=spec, spec_commit=spec_commit))

    first = look_back("2013-01-01", "one", "a" * 40)
    assert look_back("2013-02-01", "one", "b" * 40) == first, "another commit with the same spec"
    assert look_back("2013-02-01", "two", "b" * 40) != first
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert client.get_run(first).info.run_name == f"walk-forward {'c' * 10} {'a' * 10}"
    assert [each.as_of for each in read_curve(client, first, "r2")] == [date(2013, 1, 1), date(2013, 2, 1)]
