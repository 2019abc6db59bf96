from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Evaluate
from pipeline.steps.evaluate.evaluating import evaluate, warn_of_few_rows
from pipeline.steps.evaluate.results import Evaluation
from pipeline.steps.evaluate.sample import Prediction

RANDOM = np.random.default_rng(11)
TRUTH = RANDOM.integers(0, 2, 300)
SCORES = np.clip(0.5 + 0.3 * (TRUTH - 0.5) + 0.2 * RANDOM.normal(size=300), 0, 1)
PREDICTION = Prediction(labels=(SCORES > 0.5).astype(np.int64), probabilities=np.stack([1 - SCORES, SCORES], axis=1))
ALL = ["accuracy", "precision", "recall", "f1", "roc_auc", "pr_auc", "log_loss", "brier"]


def text(values):
    return pd.Series(values, dtype="str")


def test_evaluate_gives_each_metric_inside_its_interval():
    found = evaluate(TRUTH, PREDICTION, Evaluate(metrics=ALL), None, 0)
    assert list(found.metrics) == ALL
    assert all(each.low < each.value < each.high for each in found.metrics.values())
    assert found.rows == 300


def test_evaluate_is_repeatable_and_indifferent_to_nothing_but_its_arguments():
    first, second = (evaluate(TRUTH, PREDICTION, Evaluate(metrics=ALL), None, 5) for _ in range(2))
    assert first == second
    assert first != evaluate(TRUTH, PREDICTION, Evaluate(metrics=ALL), None, 6)


@pytest.mark.parametrize(
    ("prediction", "expected"),
    [
        (PREDICTION, ["accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"]),
        (Prediction(values=SCORES), ["rmse", "mae", "r2"]),
    ],
)
def test_evaluate_computes_the_usual_metrics_of_the_task(prediction, expected):
    assert list(evaluate(TRUTH, prediction, Evaluate()).metrics) == expected


def test_evaluate_counts_the_confusion_by_true_and_predicted_class():
    truth, labels = np.array([0, 0, 1, 2, -1]), np.array([0, 1, 1, 2, 0])
    found = evaluate(
        truth, Prediction(labels=labels, probabilities=np.eye(3)[labels]), Evaluate(), classes=["a", "b", "c"]
    )
    assert found.confusion == ((1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0))
    assert found.classes == ("a", "b", "c")
    assert "test rows of a class that training did not see, counted as wrong: 1" in found.notes


def test_evaluate_by_slice_equals_evaluating_the_rows_of_the_slice():
    column = text(["x", "y", None] * 100)
    found = evaluate(TRUTH, PREDICTION, Evaluate(metrics=ALL, slices=["c"]), pd.DataFrame({"c": column}), 0)
    assert list(found.slices["c"]) == ["x", "y", "missing"]
    for name, rows in {"x": column == "x", "y": column == "y", "missing": column.isna()}.items():
        alone = evaluate(TRUTH[rows], PREDICTION.take(rows.to_numpy()), Evaluate(metrics=ALL))
        part = found.slices["c"][name]
        assert part.rows == 100
        assert {key: each.value for key, each in part.metrics.items()} == pytest.approx(
            {key: each.value for key, each in alone.metrics.items()}, rel=1e-12
        )
        assert part.metrics["f1"].low < part.metrics["f1"].value < part.metrics["f1"].high


def test_evaluate_says_which_slices_are_too_small():
    column = text(["big"] * 290 + ["small"] * 10)
    found = evaluate(TRUTH, PREDICTION, Evaluate(slices=["c"]), pd.DataFrame({"c": column}))
    assert {name: each.few for name, each in found.slices["c"].items()} == {"big": False, "small": True}
    assert "slices by c with fewer than 50 rows, too few to judge by: 1" in found.notes


def constant(labels):
    return Prediction(labels=np.array(labels), probabilities=np.eye(2)[labels] * 0.8 + 0.1)


@pytest.mark.parametrize(
    ("truth", "prediction", "metric", "note"),
    [
        ([0] * 60, constant([0, 1] * 30), "roc_auc", "roc_auc is undefined: the test rows are all of one class"),
        ([0] * 60, constant([0, 1] * 30), "recall", "recall is undefined: no test row is of the positive class"),
        (
            [0] * 60, constant([0] * 60), "f1",
            "f1 is undefined: no test row is, or is predicted to be, of the positive class",
        ),
        ([2.0] * 60, Prediction(values=np.ones(60)), "r2", "r2 is undefined: the true values do not vary"),
        (
            [1.0, 2.0], Prediction(values=np.array([1.0, np.inf])), "rmse",
            "rmse is undefined: the predictions do not allow it (not finite, or no probabilities)",
        ),
        ([], Prediction(values=np.array([])), "mae", "mae is undefined: there are no test rows"),
        ([], Prediction(labels=np.zeros(0, int), probabilities=np.zeros((0, 3))), "f1",
         "f1 is undefined: there are no test rows"),
    ],
)  # fmt: skip
def test_an_undefined_metric_is_none_with_a_note(truth, prediction, metric, note):
    found = evaluate(np.array(truth), prediction, Evaluate(metrics=[metric]))
    assert found.metrics[metric].value is None
    assert note in found.notes
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("truth", "prediction", "metric", "note"),
    [
        ([0, 1] * 30, constant([0] * 60), "precision",
         "precision is 0 because no row is predicted to be of the positive class"),
        ([0.0, 1.0] * 30, Prediction(values=np.ones(60)), "mape",
         "mape is inflated by rows with a true value of 0: 30"),
        ([np.nan, 1.0] * 30, Prediction(values=np.ones(60)), "mae",
         "test rows without a true value, left out: 30"),
        ([0.0, 1.0], Prediction(values=np.ones(2)), "mae", "test rows, too few to judge by: 2"),
        ([0.0] * 19 + [1.0], Prediction(values=np.ones(20)), "r2",
         "r2 has no interval: it is undefined in too many resamples"),
        ([0.0, 1.0, 2.0] * 3, Prediction(values=np.ones(9)), "mae",
         "no metric has an interval: of fewer than 10 rows, resamples say nothing of others"),
        ([0, 1] * 30, Prediction(labels=np.array([0, 1] * 30), probabilities=np.full((60, 3), 1 / 3)), "roc_auc",
         "classes that no test row is of, left out of the averaged areas: 1"),
    ],
)  # fmt: skip
def test_evaluate_says_what_a_reader_must_know(truth, prediction, metric, note):
    found = evaluate(np.array(truth), prediction, Evaluate(metrics=[metric]))
    assert found.metrics[metric].value is not None
    assert note in found.notes


def test_no_resamples_means_no_intervals_and_no_note_about_them():
    found = evaluate(TRUTH, PREDICTION, Evaluate(bootstrap=0))
    assert {each.low for each in found.metrics.values()} == {None}
    assert found.notes == ()


def test_one_row_and_one_class_do_not_crash():
    prediction = Prediction(labels=np.array([0]), probabilities=np.array([[1.0]]))
    found = evaluate(np.array([0]), prediction, Evaluate(metrics=ALL), pd.DataFrame({}), classes=["only"])
    assert found.metrics["accuracy"].value == 1
    assert found.metrics["roc_auc"].value is None


def test_an_evaluation_survives_json():
    frame = pd.DataFrame({"c": text(["x", "y", None] * 100)})
    found = evaluate(TRUTH, PREDICTION, Evaluate(slices=["c"]), frame, classes=[False, True])
    assert Evaluation.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


@pytest.mark.parametrize(
    ("rules", "frame", "rows", "message"),
    [
        (Evaluate(), None, 299, "evaluate: found 300 predictions; expected one for each of 299 rows"),
        (
            Evaluate(metrics=["auc"]),
            None,
            300,
            r"evaluate: found auc; expected metrics among accuracy, .*evaluate\.metr",
        ),
        (Evaluate(slices=["c"]), pd.DataFrame({"d": [1.0] * 300}), 300, r"column 'c' is not in the test rows"),
        (Evaluate(slices=["c"]), None, 300, r"column 'c' is not in the test rows; expected it \(evaluate\.slices\)"),
        (Evaluate(slices=["c"]), pd.DataFrame({"c": [1.0]}), 300, "found 1 rows to slice by; expected 300"),
    ],
)
def test_evaluate_says_what_does_not_fit(rules, frame, rows, message):
    with pytest.raises(DataError, match=message):
        evaluate(TRUTH[:rows], PREDICTION, rules, frame)


def test_fewer_than_ten_rows_have_values_and_no_intervals_in_slices_too():
    truth, prediction = np.arange(18.0), Prediction(values=np.ones(18))
    column = pd.DataFrame({"c": text(["x", "y"] * 9)})
    found = evaluate(truth, prediction, Evaluate(metrics=["mae"], slices=["c"]), column)
    assert found.metrics["mae"].low is not None
    assert [each.metrics["mae"].low for each in found.slices["c"].values()] == [None, None]
    few = evaluate(truth[:9], prediction.take(slice(9)), Evaluate(metrics=["mae"]))
    assert few.metrics["mae"].value is not None
    assert (few.metrics["mae"].low, few.metrics["mae"].high) == (None, None)


def test_few_rows_and_few_of_a_class_are_warned_of():
    labels = np.array([0] * 28 + [1])
    few = evaluate(labels, constant(labels), Evaluate(metrics=["accuracy"]), classes=["a", "b"])
    rows, classes = warn_of_few_rows(few)
    assert rows.startswith("the model is judged on 29 test rows; expected at least 30")
    assert classes.startswith("1 of 2 classes have fewer than 5 test rows: 'b' (1); ")
    enough = np.array([0, 1] * 15)
    assert warn_of_few_rows(evaluate(enough, constant(enough), Evaluate(metrics=["accuracy"]))) == []
