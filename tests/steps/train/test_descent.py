from __future__ import annotations

import re

import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.spec.schema.spec import EarlyStopping
from pipeline.steps.train.descent import descend
from pipeline.steps.train.targets import Rows

NONE = Rows(np.zeros((0, 1), np.float32), np.zeros(0))


def line(rows: int = 100, columns: int = 1, noise: float = 0.0) -> Rows:
    generator = np.random.default_rng(3)
    features = generator.random((rows, columns)).astype(np.float32)
    target = 2.0 * features[:, 0] + 1 + noise * generator.normal(size=rows)
    return Rows(features, target.astype(np.float64))


def plain_descent(rows: Rows, learning_rate: float, epochs: int) -> tuple[np.ndarray, list[float]]:
    """Apply the formula as it is written, over all the rows."""
    design = np.hstack([np.ones((len(rows), 1)), rows.features.astype(np.float64)])
    theta, losses = np.zeros(design.shape[1]), []
    for _ in range(epochs):
        theta = theta - learning_rate * design.T @ (design @ theta - rows.target) / len(rows)
        losses.append(float(((design @ theta - rows.target) ** 2).sum() / (2 * len(rows))))
    return theta, losses


@pytest.mark.parametrize(("rows", "columns"), [(100, 1), (50, 6), (4, 8), (1, 1)])
def test_descent_follows_the_formula(rows, columns) -> None:
    data = line(rows, columns, noise=0.1)
    fitted = descend(data, NONE, learning_rate=0.1, epochs=40, tolerance=0, stop=None)
    theta, losses = plain_descent(data, 0.1, 40)
    np.testing.assert_allclose([fitted.estimator.intercept, *fitted.estimator.weights], theta, rtol=1e-10)
    np.testing.assert_allclose([each["loss"] for each in fitted.history], losses, rtol=1e-9)
    assert [each["step"] for each in fitted.history] == list(range(1, 41))


def test_descent_finds_the_line() -> None:
    fitted = descend(line(), line(), learning_rate=0.5, epochs=3000, tolerance=0, stop=None)
    assert fitted.estimator.weights == pytest.approx([2.0], abs=1e-5)
    assert fitted.estimator.intercept == pytest.approx(1.0, abs=1e-5)
    assert fitted.history[-1]["validation_loss"] == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("learning_rate", [2.0, 1e6, 1e300])
def test_a_learning_rate_that_diverges_is_answered_by_one_that_converges(learning_rate) -> None:
    with pytest.raises(TrainingError) as caught:
        descend(line(), NONE, learning_rate=learning_rate, epochs=5000, tolerance=0, stop=None)
    message = str(caught.value)
    assert message.startswith("train: the loss grows in epoch ")
    assert message.endswith("(model.params.learning_rate)")
    proposed = float(re.findall(r"such as ([\d.e+-]+)", message)[0])
    descend(line(), NONE, learning_rate=proposed, epochs=5000, tolerance=0, stop=None)


def test_tolerance_ends_training_aloud() -> None:
    fitted = descend(line(), NONE, learning_rate=0.5, epochs=5000, tolerance=1e-6, stop=None)
    assert fitted.notes == (f"stopped after {len(fitted.history)} of 5,000 epochs",)


def test_early_stopping_keeps_the_line_that_was_best_on_the_validation_rows() -> None:
    train, validation = line(noise=0.5), Rows(line().features, line().target - 0.4)
    stop = EarlyStopping(patience=5, min_improvement=0.0)
    fitted = descend(train, validation, learning_rate=0.2, epochs=5000, tolerance=0, stop=stop)
    losses = [each["validation_loss"] for each in fitted.history]
    assert len(losses) == losses.index(min(losses)) + 1 + 5
    kept = ((fitted.predict(validation.features) - validation.target) ** 2).mean() / 2
    assert kept == pytest.approx(min(losses))
