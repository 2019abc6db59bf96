"""What a framework's network can do; the rest of training does not know which framework it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.steps.train.neural.layers import Weights
from pipeline.steps.train.results import Array, Floats, Predict


@dataclass(frozen=True)
class Batch:
    """Rows in the order in which they are learnt, with targets as the loss reads them.

    Attributes
    ----------
    features : ndarray of float32, shape (rows, columns)
    target : ndarray of shape (rows,)
        float32 values, or int64 class indices.
    weights : ndarray of float32, shape (rows,), or None
    """

    features: Array
    target: Array
    weights: Array | None

    def take(self, places: Array | slice, features: Array | None = None) -> Batch:
        """Return rows by their places; their features, where somebody has them already."""
        weights = None if self.weights is None else self.weights[places]
        return Batch(self.features[places] if features is None else features, self.target[places], weights)


class Network(Protocol):
    """A network of a framework, with its optimizer."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Where it is trained, and what is not as asked for."""

    def learn(self, pieces: Iterable[Batch], rate: float, seed: int) -> float:
        """Go once through the rows, in batches; give the mean loss. The seed is that of the epoch."""

    def judge(self, rows: Batch) -> float:
        """Return the mean loss, and learn nothing."""

    def state(self) -> Weights:
        """Return a copy of the weights and of all that the optimizer keeps."""

    def restore(self, state: Mapping[str, Array]) -> None:
        """Go back to what `state` gave."""

    def close(self) -> None:
        """End what learnt with it; what it knows is still there."""

    def predictor(self) -> Predict:
        """Return a function to the raw outputs (rows, outputs), in double precision, with the weights of now."""

    def weights(self) -> Weights:
        """Return the weights by layer, as `initial_weights` names and shapes them."""


@dataclass(frozen=True)
class Scale:
    """Values are learnt as ``(value - shift) / factor``.

    The last layer is scaled back, so that the model itself gives values.
    """

    shift: float = 0.0
    factor: float = 1.0

    def apply(self, values: Array) -> Array:
        """Return what is learnt."""
        return np.asarray((values - self.shift) / self.factor, dtype=np.float32)

    def undo(self, outputs: Array) -> Floats:
        """Return the values again."""
        return np.asarray(outputs * self.factor + self.shift)


def scale_of(values: Array) -> Scale:
    """Scale values to a mean of 0 and a standard deviation of 1."""
    return Scale(float(values.mean()), float(values.std()) or 1.0)


Params = Mapping[str, Any]
