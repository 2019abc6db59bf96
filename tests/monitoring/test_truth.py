"""Quality that is known, beside that of the test rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.delivery.releases import Evidence, Release, Version
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.diagnosis import diagnose
from pipeline.monitoring.judging import budget_of, judge
from pipeline.monitoring.truth import Known, judge_newest
from pipeline.runs.prequential import Point
from pipeline.spec.schema.spec import Evaluate
from pipeline.steps.evaluate.evaluating import evaluate
from pipeline.steps.evaluate.results import Estimate
from pipeline.steps.evaluate.sample import Prediction
from tests.monitoring.test_judging import REFERENCE, RULES, moved, window

DAY_S = 86_400.0
EVIDENCE = Evidence(
    data_repository=".",
    data_commit="a" * 40,
    spec_commit="b" * 40,
    code="",
    spec_path="models/m.yaml",
    environment=None,
    as_of=None,
    partitions=1,
    artifacts={},
    model_digest="",
    recipe="",
    signature={},
    metrics={
        "roc_auc": {"value": 0.9, "low": 0.88, "high": 0.92},
        "log_loss": {"value": 0.3, "low": 0.28, "high": 0.32},
    },
    verdict=(),
    mlflow_run=None,
    who="",
    why="",
    data_time="1970-01-02T00:00:00+00:00",
)
LIVE = Release("m", Version(1, 0, 0), EVIDENCE)


def point(day: float = 31, **metrics: Estimate) -> Point:
    return Point("m@v1.0.0", "c" * 40, (1 + day) * DAY_S, 500, metrics)


@pytest.mark.parametrize(
    ("metric", "found", "worse"),
    [
        ("roc_auc", Estimate(0.7, 0.68, 0.72), True),
        ("roc_auc", Estimate(0.89, 0.87, 0.91), False),
        ("roc_auc", Estimate(0.99, 0.98, 1.0), False),
        ("log_loss", Estimate(0.5, 0.48, 0.52), True),
        ("log_loss", Estimate(0.1, 0.08, 0.12), False),
    ],
)
def test_worse_is_what_is_worse_by_more_than_chance(metric: str, found: Estimate, *, worse: bool) -> None:
    (known,) = judge_newest([point(**{metric: found})], LIVE, [], 0.0002)
    assert known.worse is worse
    assert known.text.endswith(": worse") is worse
    assert f"on 500 rows that it has never seen (data {'c' * 10}), on its test rows" in known.text


def test_a_loss_that_is_tolerated_is_not_worse_however_sure_it_is() -> None:
    known = Known("roc_auc", 0.891, 0.890, 0.892, reference=0.9, chance=1e-9, level=1e-4, rows=1_000_000)
    assert known.worse
    assert not replace(known, tolerated=0.02).worse
    assert replace(known, tolerated=0.005).worse


def test_what_has_no_interval_is_not_judged() -> None:
    assert judge_newest([], LIVE, [], 0.01) == ()
    assert judge_newest([point(roc_auc=Estimate(0.1))], LIVE, [], 0.01) == ()
    assert judge_newest([point(roc_auc=Estimate(None))], LIVE, [], 0.01) == ()
    assert judge_newest([point(rmse=Estimate(1.0, 0.9, 1.1))], LIVE, [], 0.01) == ()
    both = point(roc_auc=Estimate(0.1, 0.0, 0.2), log_loss=Estimate(9, 8, 10))
    assert [each.metric for each in judge_newest([both], LIVE, ["log_loss", "loss"], 0.01)] == ["log_loss"]


@pytest.mark.parametrize(("days", "share"), [((31,), 1.0), ((3,), 0.1), ((3, 3.5), 0.5 / 30), ((3, 3), 0.0)])
def test_each_commit_spends_as_much_of_a_month_as_lies_behind_it(days: tuple[float, ...], share: float) -> None:
    made = [point(each, roc_auc=Estimate(0.8, 0.7, 0.9)) for each in days]
    (known,) = judge_newest(made, LIVE, [], 0.01)
    assert known.level == pytest.approx(0.01 * share)


def test_where_nobody_knows_when_the_commit_before_was_made_a_day_is_spent() -> None:
    older = replace(LIVE, evidence=replace(EVIDENCE, data_time=None))
    (known,) = judge_newest([point(roc_auc=Estimate(0.8, 0.7, 0.9))], older, [], 0.01)
    assert known.level == pytest.approx(0.01 / 30)


def test_quality_comes_before_drift_and_is_told_without_requests() -> None:
    known = judge_newest([point(roc_auc=Estimate(0.7, 0.68, 0.72))], LIVE, [], budget_of(RULES, REFERENCE, 1))
    unasked = Counts()
    judged = judge(unasked, REFERENCE, RULES, 300.0, known=known)
    assert (judged.verdict, judged.is_told) == ("quality", False)
    found = diagnose(judged, unasked, REFERENCE)
    assert found.cause == "concept"
    assert "the truth is recorded otherwise" in found.suggestion
    judged = judge(faulty := window(3, moved), REFERENCE, RULES, 300.0, known=known)
    assert judged.verdict == "quality"
    found = diagnose(judged, faulty, REFERENCE)
    assert (found.cause, [each.feature for each in found.signs]) == ("data", ["roc_auc", "x"])
    assert judge(Counts(), REFERENCE, RULES, 300.0).verdict == "waiting"


def evaluated(seed: int, count: int) -> dict[str, Estimate]:
    draw = np.random.default_rng(seed)
    scores = draw.beta(0.4, 0.6, count)
    truth = (draw.random(count) < scores).astype(int)
    answer = Prediction(labels=(scores >= 0.5).astype(int), probabilities=np.column_stack([1 - scores, scores]))
    return dict(evaluate(truth, answer, Evaluate(metrics=["accuracy", "roc_auc"], bootstrap=200), seed=seed).metrics)


def test_the_same_quality_is_called_worse_as_seldom_as_is_said() -> None:
    tested = {name: vars(each) for name, each in evaluated(0, 4_000).items()}
    live = replace(LIVE, evidence=replace(EVIDENCE, metrics=tested))
    found = [judge_newest([point(**evaluated(seed, 300))], live, [], 0.01) for seed in range(1, 201)]
    assert (
        sum(any(known.worse for known in each) for each in found) <= 8
    )  # 2 of 100 are to be expected at most, and chance
