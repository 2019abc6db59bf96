from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.steps.evaluate.importance import permutation_importance
from pipeline.steps.evaluate.results import Importances
from pipeline.steps.evaluate.sample import Prediction

RANDOM = np.random.default_rng(5)
FRAME = pd.DataFrame(
    {
        "little": RANDOM.normal(size=500),
        "much": RANDOM.normal(size=500),
        "none": RANDOM.normal(size=500),
        "word": pd.Series(RANDOM.choice(["yes", "no"], 500), dtype="str"),
        "day": pd.Series(pd.date_range("2020-01-01", periods=500, unit="us")),
    }
).set_axis(range(1000, 1500))


def predict(frame):
    return Prediction(values=(frame["little"] + 10 * frame["much"] + 3 * (frame["word"] == "yes")).to_numpy())


TRUTH = predict(FRAME).outputs


def test_columns_come_in_the_order_of_what_the_model_uses():
    found = permutation_importance(FRAME, TRUTH, predict, "rmse", 0)
    assert [each.column for each in found.columns[:3]] == ["much", "word", "little"]
    assert {each.column: each.drop for each in found.columns[3:]} == {"none": 0.0, "day": 0.0}
    assert found.columns[0].drop > 0
    assert (found.metric, found.rows, found.note) == ("rmse", 500, "")


def test_the_drop_is_the_metric_lost_when_only_that_column_is_shuffled():
    found = permutation_importance(
        FRAME[["word"]], (FRAME["word"] == "yes").to_numpy().astype(int), label, "accuracy", 3
    )
    shuffled = np.random.default_rng(3)
    shuffled.choice(500, 500, replace=False)
    order = shuffled.permutation(500)
    words = FRAME["word"].to_numpy()
    assert found.columns[0].drop == pytest.approx(1 - np.mean(words[order] == words))


def label(frame):
    labels = (frame["word"] == "yes").to_numpy().astype(int)
    return Prediction(labels=labels, probabilities=np.eye(2)[labels])


def test_the_same_seed_gives_the_same_importances():
    first, second = (permutation_importance(FRAME, TRUTH, predict, "r2", 4) for _ in range(2))
    assert first == second
    assert first != permutation_importance(FRAME, TRUTH, predict, "r2", 5)


def test_the_frame_is_not_changed():
    before = FRAME.copy(deep=True)
    permutation_importance(FRAME, TRUTH, predict, "r2", 0)
    pd.testing.assert_frame_equal(FRAME, before)


def test_copies_keep_the_columns_types():
    seen = []

    def look(frame):
        seen.append(frame.dtypes.to_dict())
        return predict(frame)

    permutation_importance(FRAME, TRUTH, look, "rmse", 0)
    assert len(seen) == 2
    assert all(each == FRAME.dtypes.to_dict() for each in seen)


def test_at_most_five_thousand_rows_are_used():
    frame = pd.concat([FRAME] * 11)
    assert permutation_importance(frame, np.tile(TRUTH, 11), predict, "rmse", 0).rows == 5000


def test_rows_without_a_true_value_are_left_out():
    truth = TRUTH.copy()
    truth[:100] = np.nan
    assert permutation_importance(FRAME, truth, predict, "rmse", 0).rows == 400


@pytest.mark.parametrize(
    ("frame", "truth", "metric", "note"),
    [
        (FRAME, np.ones(500), "r2", "r2 is undefined on the rows used"),
        (FRAME.iloc[:0], np.ones(0), "r2", "there are no test rows"),
        (
            pd.DataFrame(np.zeros((200, 1000))), np.ones(200), "r2",
            "not computed for 1,000 columns: it would take longer than it is worth",
        ),
    ],
)  # fmt: skip
def test_where_there_are_no_importances_a_note_says_why(frame, truth, metric, note):
    found = permutation_importance(frame, truth, predict, metric, 0)
    assert found.columns == ()
    assert found.note == note


def test_importances_survive_json():
    found = permutation_importance(FRAME, TRUTH, predict, "rmse", 0)
    assert Importances.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found
