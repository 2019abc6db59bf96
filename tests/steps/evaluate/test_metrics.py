from __future__ import annotations

import warnings

import numpy as np
import pytest
import sklearn.metrics as reference

from pipeline.spec.catalogue.metrics import METRICS
from pipeline.steps.evaluate.metrics import METRIC_FUNCTIONS, Weighted, measure, metrics_of, score, scorer
from pipeline.steps.evaluate.sample import UNSEEN, Prediction, Sample

RANDOM = np.random.default_rng(7)


def classify(rows, classes, digits=None, dtype=np.float64):
    truth = np.concatenate([np.arange(classes), RANDOM.integers(0, classes, rows - classes)])
    raw = RANDOM.random((rows, classes)) + 0.6 * (truth[:, None] == np.arange(classes))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    if digits is not None:
        probabilities = np.floor(probabilities * 10**digits) / 10**digits
        probabilities[:, 0] = 1 - probabilities[:, 1:].sum(axis=1)
    return Sample(truth, Prediction(labels=raw.argmax(axis=1), probabilities=probabilities.astype(dtype)))


def regress(truth, predicted):
    return Sample(np.asarray(truth, dtype=float), Prediction(values=np.asarray(predicted, dtype=float)))


BINARY = {
    "accuracy": lambda t, p, w: reference.accuracy_score(t, p.labels, sample_weight=w),
    "precision": lambda t, p, w: reference.precision_score(t, p.labels, sample_weight=w, zero_division=0),
    "recall": lambda t, p, w: reference.recall_score(t, p.labels, sample_weight=w),
    "f1": lambda t, p, w: reference.f1_score(t, p.labels, sample_weight=w),
    "roc_auc": lambda t, p, w: reference.roc_auc_score(t, p.probabilities[:, 1], sample_weight=w),
    "pr_auc": lambda t, p, w: reference.average_precision_score(t, p.probabilities[:, 1], sample_weight=w),
    "log_loss": lambda t, p, w: reference.log_loss(t, y_proba=p.probabilities, sample_weight=w, labels=[0, 1]),
    "brier": lambda t, p, w: reference.brier_score_loss(t, y_proba=p.probabilities, sample_weight=w, labels=[0, 1]),
}
MANY = {
    "accuracy": BINARY["accuracy"],
    **{
        name: lambda t, p, w, f=function: f(t, p.labels, average="macro", sample_weight=w, zero_division=0)
        for name, function in {
            "precision": reference.precision_score,
            "recall": reference.recall_score,
            "f1": reference.f1_score,
        }.items()
    },
    "roc_auc": lambda t, p, w: reference.roc_auc_score(
        np.eye(p.probabilities.shape[1])[t], p.probabilities, sample_weight=w
    ),
    "pr_auc": lambda t, p, w: reference.average_precision_score(
        np.eye(p.probabilities.shape[1])[t], p.probabilities, sample_weight=w
    ),
    "log_loss": lambda t, p, w: reference.log_loss(t, y_proba=p.probabilities, sample_weight=w),
    "brier": lambda t, p, w: reference.brier_score_loss(t, y_proba=p.probabilities, sample_weight=w),
}
VALUES = {
    "mse": lambda t, p, w: reference.mean_squared_error(t, p.values, sample_weight=w),
    "rmse": lambda t, p, w: reference.root_mean_squared_error(t, p.values, sample_weight=w),
    "mae": lambda t, p, w: reference.mean_absolute_error(t, p.values, sample_weight=w),
    "r2": lambda t, p, w: reference.r2_score(t, p.values, sample_weight=w),
    "mape": lambda t, p, w: reference.mean_absolute_percentage_error(t, p.values, sample_weight=w),
}
SAMPLES = {
    "two classes": (classify(500, 2), BINARY),
    "two classes with tied scores": (classify(500, 2, digits=1), BINARY),
    "two classes, all scores equal": (
        Sample(np.array([0, 1, 1, 0]), Prediction(labels=np.array([1, 1, 0, 0]), probabilities=np.full((4, 2), 0.5))),
        BINARY,
    ),
    "two rows": (classify(2, 2), BINARY),
    "certain and wrong": (
        Sample(np.array([0, 1]), Prediction(labels=np.array([1, 0]), probabilities=np.eye(2)[::-1])),
        BINARY,
    ),
    "no row predicted positive": (
        Sample(
            np.array([0, 1]),
            Prediction(labels=np.array([0, 0]), probabilities=np.array([[0.9, 0.1], [0.6, 0.4]])),
        ),
        BINARY,
    ),
    "five classes": (classify(800, 5), MANY),
    "five classes with tied scores": (classify(800, 5, digits=2), MANY),
    "values": (regress(RANDOM.normal(size=300), RANDOM.normal(size=300)), VALUES),
    "values with a zero": (regress([0.0, 1.0, -2.0], [0.1, 1.5, -2.0]), VALUES),
    "large values far from zero": (regress(1e6 + RANDOM.normal(size=99), 1e6 + RANDOM.normal(size=99)), VALUES),
}
CASES = [(sample, metric) for sample, (_, expected) in SAMPLES.items() for metric in expected]


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_metric_equals_scikit_learn(name, metric):
    sample, expected = SAMPLES[name]
    assert score(metric, sample) == pytest.approx(
        expected[metric](sample.truth, sample.prediction, None), rel=1e-12, abs=1e-12
    )


@pytest.mark.parametrize(("name", "metric"), CASES)
def test_metric_equals_scikit_learn_under_row_weights(name, metric):
    sample, expected = SAMPLES[name]
    weights = np.random.default_rng(1).integers(1, 4, (3, len(sample))).astype(float)
    found = measure(metric, Weighted(sample, weights))
    wanted = [expected[metric](sample.truth, sample.prediction, each) for each in weights]
    assert found == pytest.approx(wanted, rel=1e-9 if "large" in name else 1e-12, abs=1e-12)


@pytest.mark.parametrize("metric", list(METRICS))
def test_a_row_of_weight_two_counts_as_two_rows_and_one_of_weight_zero_as_none(metric):
    sample = SAMPLES["two classes with tied scores" if metric in BINARY else "values"][0]
    counts = np.random.default_rng(2).integers(0, 3, len(sample))
    repeated = sample.take(np.repeat(np.arange(len(sample)), counts))
    weighted = measure(metric, Weighted(sample, counts[None].astype(float)))[0]
    assert weighted == pytest.approx(score(metric, repeated), rel=1e-12)


@pytest.mark.parametrize("metric", list(BINARY))
def test_the_order_of_rows_changes_no_metric(metric):
    sample = SAMPLES["two classes with tied scores"][0]
    assert score(metric, sample.take(np.random.default_rng(4).permutation(len(sample)))) == pytest.approx(
        score(metric, sample), rel=1e-13
    )


def test_probabilities_in_float32_are_held_off_zero_by_their_own_precision():
    sample = Sample(
        np.array([0, 1]), Prediction(labels=np.array([1, 1]), probabilities=np.array([[0, 1], [0, 1]], np.float32))
    )
    expected = reference.log_loss(sample.truth, y_proba=sample.prediction.probabilities)
    assert score("log_loss", sample) == pytest.approx(expected, rel=1e-6)


def test_metrics_are_exactly_those_of_the_catalogue():
    assert list(METRIC_FUNCTIONS) == list(METRICS)
    assert {*metrics_of("classification"), *metrics_of("regression")} == set(METRICS)


ONE_CLASS = Prediction(labels=np.array([0, 1, 0]), probabilities=np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3]]))


@pytest.mark.parametrize(
    ("metric", "sample"),
    [
        ("roc_auc", Sample(np.zeros(3, int), ONE_CLASS)),
        ("roc_auc", Sample(np.ones(3, int), ONE_CLASS)),
        ("pr_auc", Sample(np.zeros(3, int), ONE_CLASS)),
        ("pr_auc", Sample(np.ones(3, int), ONE_CLASS)),
        ("recall", Sample(np.zeros(3, int), ONE_CLASS)),
        ("r2", regress([0.1, 0.1, 0.1], [0.1, 0.2, 0.3])),
        ("r2", regress([5.0], [5.0])),
        ("mse", regress([1.0], [np.inf])),
        ("mae", regress([1.0], [np.nan])),
        ("log_loss", Sample(np.array([0, 1]), Prediction(labels=np.array([0, 1])))),
        *((metric, Sample(np.zeros(0, int), Prediction(labels=np.zeros(0, int)))) for metric in BINARY),
        *((metric, regress([], [])) for metric in VALUES),
    ],
)
def test_an_undefined_metric_is_nan_without_a_warning(metric, sample):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(score(metric, sample))


def test_a_row_of_an_unseen_class_counts_as_wrong():
    labels = np.array([0, 1, 2, 2])
    sample = Sample(np.array([0, 1, 2, UNSEEN]), Prediction(labels=labels, probabilities=np.eye(3)[labels]))
    assert score("accuracy", sample) == 0.75
    assert score("recall", sample) == pytest.approx(
        reference.recall_score([0, 1, 2, 3], labels, average="macro", zero_division=0)
    )
    assert score("log_loss", sample) > 5


def test_an_area_over_many_classes_leaves_out_a_class_without_rows():
    sample = classify(60, 3)
    some = sample.take(sample.truth != 2)
    each = [reference.roc_auc_score(some.truth == c, some.prediction.probabilities[:, c]) for c in (0, 1)]
    assert score("roc_auc", some) == pytest.approx(np.mean(each))


def test_scorer_turns_a_loss_so_that_greater_is_better():
    good, bad = Prediction(values=np.array([1.0, 2.0])), Prediction(values=np.array([2.0, 4.0]))
    rate = scorer("rmse", "regression")
    assert rate(np.array([1.0, 2.0]), good) > rate(np.array([1.0, 2.0]), bad)


def test_scorer_gives_minus_infinity_where_a_metric_is_undefined():
    assert scorer("roc_auc", "classification")(np.zeros(3, int), ONE_CLASS) == float("-inf")


def test_scorer_names_the_metrics_that_the_task_has():
    with pytest.raises(ValueError, match="found 'r2'; expected one for classification: accuracy, precision, recall"):
        scorer("r2", "classification")


def test_a_prediction_of_nothing_says_so():
    with pytest.raises(ValueError, match="neither values nor labels"):
        len(Prediction())
