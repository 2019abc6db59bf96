"""Quality of answers whose truth callers told, from counts alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.model.reference import PartBins, Reference, ReferenceFeature
from pipeline.monitoring.answered import judge_told
from pipeline.monitoring.counts import Bins, read_counts, truth_of, truth_since
from pipeline.serving.observing.bins import bin_numbers
from tests.monitoring.test_quality import BINS, SCORES, TRUTH, metrics, reference_of, scored

REACHED = metrics(SCORES, TRUTH)
REFERENCE = reference_of(SCORES, TRUTH, **REACHED)


def told(scores: np.ndarray, truth: np.ndarray) -> Mapping[str, Bins]:
    places = bin_numbers(BINS, scores)
    rows = np.bincount(places, minlength=BINS.count).astype(float)
    return {"rows": tuple(rows), "true": tuple(np.bincount(places, truth, BINS.count))}


def test_metrics_are_those_of_the_rows_themselves() -> None:
    scores, truth = scored(3_000, 1)
    found = {each.metric: each for each in judge_told(told(scores, truth), REFERENCE, 1e-4)}
    assert found.keys() == REACHED.keys()
    for name, value in metrics(scores, truth).items():
        known = found[name]
        assert known.value == pytest.approx(value, abs=0.004 if name == "roc_auc" else 1e-9)
        assert known.low < value < known.high
        assert not known.worse
        assert (known.rows, known.data_commit, known.reference) == (3_000, None, REACHED[name])
        assert "on 3,000 answers whose truth came, on its test rows" in known.text


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_flipped_labels_are_found(share: float) -> None:
    scores, truth = scored(1_000, 2)
    flipped = np.where(np.random.default_rng(0).random(len(truth)) < share, ~truth, truth)
    assert {each.metric for each in judge_told(told(scores, flipped), REFERENCE, 1e-5) if each.worse} >= {
        "accuracy",
        "roc_auc",
    }
    better = np.where(scores >= 0.5, True, False)
    assert not any(each.worse for each in judge_told(told(scores, better), REFERENCE, 1e-5))


def test_intervals_hold_what_they_say_and_chance_is_chance() -> None:
    held, worse = dict.fromkeys(REACHED, 0), 0
    for seed in range(400):
        found = judge_told(told(*scored(500, 100 + seed)), REFERENCE, 0.01)
        for each in found:
            held[each.metric] += each.low <= REACHED[each.metric] <= each.high
        worse += any(each.worse for each in found)
    assert all(0.92 <= number / 400 <= 0.98 for number in held.values())
    assert worse <= 20  # five metrics at 1 %, and chance


def test_rows_of_few_requests_count_less() -> None:
    scores, truth = scored(1_000, 2)
    flipped = np.where(np.random.default_rng(0).random(len(truth)) < 0.05, ~truth, truth)
    alone, together = (judge_told(told(scores, flipped), REFERENCE, 0.01, weight) for weight in (1.0, 0.01))
    assert all(a.chance <= b.chance for a, b in zip(alone, together, strict=True))
    assert together[0].high - together[0].low == pytest.approx(10 * (alone[0].high - alone[0].low), rel=0.01)


def test_without_scores_the_share_of_right_answers_is_told() -> None:
    predicted = ReferenceFeature("(prediction)", "", "prediction", 1_000, PartBins(3), (0.0, 0.5, 0.25, 0.25))
    reference = Reference(1, (predicted,), metrics={"accuracy": 0.9, "log_loss": 0.2})
    (known,) = judge_told({"rows": (500.0,), "true": (450.0,)}, reference, 1e-4)
    assert (known.metric, known.value, known.worse) == ("accuracy", pytest.approx(0.9), False)
    (known,) = judge_told({"rows": (500.0,), "true": (350.0,)}, reference, 1e-4)
    assert known.worse
    assert judge_told({}, reference, 1e-4) == judge_told({"rows": (0.0,), "true": (0.0,)}, reference, 1e-4) == ()


def errors(seed: int, spread: float, count: int = 500) -> Mapping[str, Bins]:
    drawn = np.random.default_rng(seed).normal(0, spread, count)
    powers = {"over": drawn.clip(0), "under": (-drawn).clip(0), "square": drawn**2, "fourth": drawn**4}
    return {"rows": (float(count),), **{name: (float(each.sum()),) for name, each in powers.items()}}


def test_errors_of_numbers() -> None:
    predicted = ReferenceFeature("(prediction)", "", "prediction", 2_000, PartBins(1), (0.0, 1.0))
    reference = Reference(1, (predicted,), metrics={"rmse": 1.0, "mae": 0.7979, "mse": 1.0, "r2": 0.5})
    found = {each.metric: each for each in judge_told(errors(0, 1.0), reference, 1e-3)}
    assert found.keys() == {"rmse", "mae", "mse"}
    assert found["rmse"].value == pytest.approx(1.0, abs=0.1)
    assert all(each.low < each.reference < each.high for each in found.values())
    alarms = sum(any(each.worse for each in judge_told(errors(seed, 1.0), reference, 0.01)) for seed in range(300))
    assert alarms <= 12
    assert all(each.worse for each in judge_told(errors(1, 1.6), reference, 1e-4))
    assert not any(each.worse for each in judge_told(errors(1, 0.5), reference, 1e-4))
    perfect = judge_told(
        {"rows": (9.0,), **dict.fromkeys(("over", "under", "square", "fourth"), (0.0,))}, reference, 0.1
    )
    assert [(each.value, each.worse) for each in perfect] == [(0.0, False)] * 3


def test_counts_of_truth_are_read_and_taken_off() -> None:
    mine = 'model="m",version="1.0.0",track="live"'
    text = f"""\
# TYPE ml_inference_truth counter
ml_inference_truth_total{{{mine},counted="rows",bin="0"}} 7
ml_inference_truth_total{{{mine},counted="rows",bin="1"}} 2
ml_inference_truth_total{{{mine},counted="true",bin="1"}} 1
ml_inference_truth_total{{{mine},counted="true",bin="-1"}} 1
ml_inference_truth_total{{model="m",version="1.0.0",track="canary",counted="rows",bin="0"}} 5
"""
    found = read_counts(text, REFERENCE, "m", "v1.0.0").truth
    assert (
        found
        == {"rows": (7.0, 2.0), "true": (0.0, 1.0)}
        == truth_of({("rows", 0): 7.0, ("rows", 1): 2.0, ("true", 1): 1.0})
    )
    assert truth_since(found, {"rows": (3.0, 2.0), "true": (0.0, 0.0)}) == {"rows": (4.0, 0.0), "true": (0.0, 1.0)}
    assert truth_since(found, {}) == found
    assert truth_since(found, {"rows": (8.0, 0.0), "true": (0.0, 0.0)}) == found  # servers began anew
    assert truth_since(found, {"rows": (1.0,), "true": (0.0,)}) == found
