"""Quality that is estimated from scores, beside what came true."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.model.reference import NumberBins, PartBins, Reference, ReferenceFeature, ScoreBin
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.quality import Estimate, estimate_quality
from pipeline.serving.observing.bins import bin_numbers


def scored(count: int, seed: int, harder: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw calibrated scores of two classes, and what came true; harder rows have scores nearer to a half."""
    draw = np.random.default_rng(seed)
    scores = draw.beta(0.4 * harder, 0.6 * harder, count)
    return scores, draw.random(count) < scores


SCORES, TRUTH = scored(20_000, 0)
BINS = NumberBins(tuple(sorted({*np.quantile(SCORES, np.arange(0, 1, 0.05)).tolist(), 0.5})), float(SCORES.max()))
"""Of the same mass, and parted where the answer changes, as a release has them."""


def metrics(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score, roc_auc_score

    said = scores >= 0.5
    return {
        "accuracy": accuracy_score(truth, said),
        "precision": precision_score(truth, said),
        "recall": recall_score(truth, said),
        "f1": f1_score(truth, said),
        "roc_auc": roc_auc_score(truth, scores),
    }


def reference_of(scores: np.ndarray, truth: np.ndarray, classes: int = 2, **reached: float) -> Reference:
    places = bin_numbers(BINS, scores)
    counts = np.bincount(places, minlength=BINS.count)
    calibration = tuple(
        ScoreBin(
            int((places == place).sum()), float(scores[places == place].mean()), float(truth[places == place].mean())
        )
        for place in range(2, BINS.count - 1)
    )
    features = (
        ReferenceFeature("(prediction)", "", "prediction", 1, PartBins(classes), (0.0, 1.0, *[0.0] * (classes - 1))),
        ReferenceFeature("(score)", "", "score", len(scores), BINS, tuple(counts / len(scores))),
    )
    return Reference(1, features, calibration, reached)


def window_of(scores: np.ndarray) -> Counts:
    counts = np.bincount(bin_numbers(BINS, scores), minlength=BINS.count).astype(float)
    return Counts(len(scores), features={"(score)": tuple(counts)})


def test_nothing_is_said_to_have_changed_where_nothing_has() -> None:
    scores, truth = SCORES, TRUTH
    found = estimate_quality(window_of(scores), reference_of(scores, truth, **metrics(scores, truth)))
    assert {each.metric for each in found} == {"accuracy", "precision", "recall", "f1", "roc_auc"}
    for each in found:
        assert each.value == pytest.approx(each.reference)
        assert not each.worse


def test_harder_rows_are_seen_and_their_interval_holds_what_came_true() -> None:
    held: list[bool] = []
    for seed in range(1, 41):
        scores, truth = scored(20_000, 1_000 + seed)
        reference = reference_of(scores, truth, **metrics(scores, truth))
        later, came = scored(5_000, seed, harder=3)
        true = metrics(later, came)
        found = estimate_quality(window_of(later), reference)
        assert all(each.worse for each in found if each.metric in ("accuracy", "roc_auc"))
        held += [each.low <= true[each.metric] <= each.high for each in found]
    assert np.mean(held) > 0.85  # of 95 %: where a score lies in its bin is not known


def test_of_more_than_two_classes_the_likeliest_ones_score_tells_the_accuracy() -> None:
    scores, truth = SCORES, TRUTH
    (found,) = estimate_quality(window_of(scores), reference_of(scores, truth, classes=3, accuracy=float(truth.mean())))
    assert found == Estimate("accuracy", found.value, found.low, found.high, float(truth.mean()))
    assert found.value == pytest.approx(truth.mean())


def test_a_model_without_scores_has_no_estimate() -> None:
    assert estimate_quality(Counts(), Reference(1, ())) == ()
