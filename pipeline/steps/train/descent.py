"""Linear regression by batch gradient descent.

The cost is J(θ) = 1/(2m) Σ (hθ(x) − y)² with hθ(x) = θ₀ + θ₁x₁ + …, and each epoch takes θ := θ − α ∂J/∂θ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import TrainingError
from pipeline.spec.schema.spec import EarlyStopping
from pipeline.steps.train.mapping import MAX_BLOCK_ROWS, blocks, placed_blocks
from pipeline.steps.train.results import Array, Fitted, Floats
from pipeline.steps.train.stopping import Patience
from pipeline.steps.train.targets import Rows

# A loss that grows by more than rounding can explain: with a learning rate that converges it never does.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Line:
    """A fitted line: ``x @ weights + intercept``.

    Attributes
    ----------
    weights : ndarray of float64, shape (columns,)
    """

    weights: Floats
    intercept: float

    def predict(self, features: Array) -> Floats:
        """Return the values of rows."""
        parts = [part.astype(np.float64) @ self.weights for part in blocks(features, MAX_BLOCK_ROWS)]
        return np.concatenate([np.empty(0), *parts]) + self.intercept


@dataclass(frozen=True)
class _Cost:
    """J of some rows: residuals are ``design @ θ − target``, divided by the number of rows."""

    design: Floats
    target: Floats
    rows: int

    def loss(self, theta: Floats) -> float:
        residuals = self.design @ theta - self.target
        return float(residuals @ residuals) / (2 * self.rows)

    def gradient(self, theta: Floats) -> Floats:
        return np.asarray(self.design.T @ (self.design @ theta - self.target) / self.rows)

    def curvature(self) -> float:
        """Return the largest eigenvalue of J's second derivative; the descent converges for α < 2 / curvature."""
        return float(np.linalg.norm(self.design, ord=2) ** 2 / self.rows)


def _cost(rows: Rows) -> _Cost:
    """Set up J, on few rows instead of many.

    Residuals keep their length under a rotation, so the triangle R of [1, x, y] = QR has the same J and the same
    gradient as all the rows; an epoch costs columns² instead of rows × columns. The triangle of many rows is that of a
    part's triangle and the next part (Demmel and others, "Communication-optimal parallel and sequential QR", 2012).
    """
    table = np.empty((0, rows.features.shape[1] + 2))
    for places, part in placed_blocks(rows.features):
        ones, target = np.ones((len(part), 1)), rows.target[places, None]
        table = _triangle(np.vstack([table, np.hstack([ones, part.astype(np.float64), target])]))
    return _Cost(np.ascontiguousarray(table[:, :-1]), table[:, -1].copy(), len(rows))


def _triangle(table: Floats) -> Floats:
    return np.asarray(np.linalg.qr(table, mode="r")) if len(table) > table.shape[1] else table


def descend(
    train: Rows, validation: Rows, *, learning_rate: float, epochs: int, tolerance: float, stop: EarlyStopping | None
) -> Fitted:
    """Fit a line by batch gradient descent from θ = 0.

    Parameters
    ----------
    learning_rate : float
        α.
    tolerance : float
        Training ends when an epoch lowers J by less; 0 runs every epoch.
    stop : EarlyStopping or None
        Ends when J of the validation rows no longer improves, with the θ that was best on them.

    Raises
    ------
    TrainingError
        The loss grows: the learning rate is too large for these features.
    """
    cost, judge = _cost(train), _cost(validation) if len(validation) else None
    patience = Patience(stop) if stop and judge else None
    theta = best = np.zeros(cost.design.shape[1])
    loss = first = cost.loss(theta)
    history: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        before = loss
        with np.errstate(over="ignore", invalid="ignore"):
            theta = theta - learning_rate * cost.gradient(theta)
            loss = cost.loss(theta)
        if not loss <= before + _ROUNDING * first:
            raise _diverged(cost, learning_rate, epoch)
        judged = judge.loss(theta) if judge else None
        history.append({"step": epoch, "loss": loss, "validation_loss": judged})
        if patience is None or judged is None:
            best = theta
            if before - loss < tolerance:
                break
            continue
        over = patience.is_over(judged)
        best = theta if patience.best_round == epoch else best
        if over:
            break
    line = Line(best[1:], float(best[0]))
    return Fitted(line, line.predict, tuple(history), _notes(len(history), epochs))


def _notes(done: int, epochs: int) -> tuple[str, ...]:
    return (f"stopped after {done:,} of {epochs:,} epochs",) if done < epochs else ()


def _diverged(cost: _Cost, learning_rate: float, epoch: int) -> TrainingError:
    limit = 2 / cost.curvature()
    return TrainingError(
        f"train: the loss grows in epoch {epoch} with a learning rate of {learning_rate:g}; expected one below "
        f"{limit:.3g}, such as {limit / 2:.2g} (model.params.learning_rate)"
    )
