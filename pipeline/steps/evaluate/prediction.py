"""What a model said about some rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.model.task import Task

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The outputs of a model's graph for N rows.

    Attributes
    ----------
    values : array of shape [N] or None
        For regression.
    labels : int array of shape [N] or None
        For classification: index into the classes.
    probabilities : array of shape [N, C] or None
        For classification, in the order of the classes.
    """

    values: npt.NDArray[Any] | None = None
    labels: npt.NDArray[Any] | None = None
    probabilities: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def outputs(self) -> npt.NDArray[Any]:
        """The one prediction a row: a value or a label."""
        found = self.values if self.labels is None else self.labels
        if found is None:
            raise ValueError("a prediction has neither values nor labels; expected one of them")
        return found

    @property
    def task(self) -> Task:
        """What kind of model this came from."""
        return "regression" if self.labels is None else "classification"

    def take(self, rows: Any) -> Prediction:
        """Take the prediction for some rows: a slice, a mask or indices."""
        return Prediction(*(None if each is None else each[rows] for each in self._arrays()))

    def _arrays(self) -> tuple[npt.NDArray[Any] | None, ...]:
        return self.values, self.labels, self.probabilities
