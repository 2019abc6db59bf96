from __future__ import annotations

import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pipeline.spec.schema.spec import Evaluate
from pipeline.steps.evaluate.evaluating import evaluate
from pipeline.steps.evaluate.plots import draw_plots
from pipeline.steps.evaluate.prediction import Prediction
from pipeline.steps.evaluate.results import Importance, Importances

RANDOM = np.random.default_rng(2)
IMPORTANCES = Importances("f1", 10, (Importance("$x$", 0.2), Importance("_hidden\n" * 9, -0.1)))
LOSSES = {"training": [3.0, 2.0, 1.0], "validation": [3.5]}


def classify(truth, classes):
    raw = np.random.default_rng(0).random((len(truth), classes)) + np.eye(classes)[truth]
    return Prediction(labels=raw.argmax(axis=1), probabilities=raw / raw.sum(axis=1, keepdims=True))


def draw(truth, prediction, **more):
    found = evaluate(truth, prediction, Evaluate(bootstrap=5), classes=more.pop("classes", None))
    return draw_plots("model_$x$", truth, prediction, found, **more)


MANY = RANDOM.integers(0, 40, 500)
HALF = np.repeat([0, 1], 50)
CURVES = ["confusion", "roc", "pr", "calibration"]


@pytest.mark.parametrize(
    ("truth", "prediction", "expected"),
    [
        (HALF, classify(HALF, 2), CURVES),
        (MANY, classify(MANY, 40), CURVES),
        (np.zeros(9, int), classify(np.zeros(9, int), 2), ["confusion"]),
        (np.array([0, 1, -1]), classify(np.array([0, 1, 1]), 2), CURVES),
        (HALF, Prediction(labels=HALF), ["confusion"]),
        (np.zeros(0, int), Prediction(labels=np.zeros(0, int), probabilities=np.zeros((0, 2))), []),
        (np.arange(9.0), Prediction(values=np.arange(9.0)), ["predicted", "residuals"]),
        (np.array([1.0]), Prediction(values=np.array([1.0])), ["predicted", "residuals"]),
        (np.array([1.0, np.nan, 2.0]), Prediction(values=np.array([1.0, 1.0, np.inf])), ["predicted", "residuals"]),
        (np.array([]), Prediction(values=np.array([])), []),
    ],
)
def test_every_plot_that_the_data_allow_is_drawn(truth, prediction, expected):
    found = draw(truth, prediction)
    assert list(found) == expected
    assert {Image.open(BytesIO(each)).size for each in found.values()} <= {(616, 484)}


def test_importance_and_loss_are_drawn_where_given():
    assert list(draw(HALF, classify(HALF, 2), importances=IMPORTANCES, losses=LOSSES))[-2:] == ["importance", "loss"]
    assert "loss" not in draw(HALF, classify(HALF, 2), losses={"training": []})


def test_the_same_numbers_give_the_same_bytes_without_date_or_software():
    first, second = (draw(HALF, classify(HALF, 2), importances=IMPORTANCES, losses=LOSSES) for _ in range(2))
    assert first == second
    assert all(set(Image.open(BytesIO(each)).info) <= {"dpi"} for each in first.values())


def test_class_names_are_drawn_as_they_are():
    draw(HALF, classify(HALF, 2), classes=["$\\frac{", "_x" * 40])


def test_plots_do_without_pyplot():
    code = "import sys, pipeline.steps.evaluate.plots; print('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
