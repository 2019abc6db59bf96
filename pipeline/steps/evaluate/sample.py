"""What a model said about some rows, beside the truth.

What several metrics share is computed once, for any number of weightings.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.model.task import Task

UNSEEN = -1  # the true class of a row whose class did not occur in training

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


@dataclass(frozen=True, eq=False)
class Ranking:
    """The rows of one class against all others by their score; "above" means a higher score.

    Attributes
    ----------
    positives : int array of shape [P]
        Rows of the class, the highest score first.
    above, level : int arrays of shape [N]
        For each negative row, how many positives are above it, and how many above or level with it; 0 for a positive.
    bins : int array of shape [N]
        ``above``, but P + 1 for a positive.
    first, last : int arrays of shape [P]
        For each positive, how many positives are above it, and how many above or level with it.
    """

    positives: IntArray
    above: IntArray
    level: IntArray
    bins: IntArray
    first: IntArray
    last: IntArray

    @cached_property
    def tied(self) -> bool:
        """Whether any positive row scores the same as a negative one."""
        return not np.array_equal(self.above, self.level)


@dataclass(frozen=True, eq=False)
class Sample:
    """N rows to be judged.

    Attributes
    ----------
    truth : array of shape [N]
        True values, or indices of the true classes (``UNSEEN`` for a class that training did not see).
    """

    truth: npt.NDArray[Any]
    prediction: Prediction

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, rows: Any) -> Sample:
        """Take some of the rows."""
        return Sample(self.truth[rows], self.prediction.take(rows))

    @cached_property
    def classes(self) -> int:
        """Number of classes that the model tells apart; at least two."""
        if self.prediction.probabilities is not None:
            return max(int(self.prediction.probabilities.shape[1]), 2)
        return int(max(self.truth.max(initial=1), self.prediction.outputs.max(initial=1))) + 1

    @property
    def binary(self) -> bool:
        """Whether there is one positive class, which is the one with index 1."""
        return self.classes == 2

    @cached_property
    def cells(self) -> IntArray:
        """Each row's cell in the flattened confusion matrix, whose last row and column are the unseen class."""
        truth = np.where(self.truth == UNSEEN, self.classes, self.truth).astype(np.int64)
        return truth * (self.classes + 1) + self.prediction.outputs.astype(np.int64)

    @cached_property
    def probabilities(self) -> FloatArray | None:
        """What the model gave for each class, shape [N, classes]."""
        given = self.prediction.probabilities
        if given is None or given.shape[1] == self.classes:
            return given
        return np.pad(given, ((0, 0), (0, self.classes - given.shape[1])))

    @cached_property
    def true_probabilities(self) -> FloatArray | None:
        """What the model gave for the class that was true; 0 for one that it did not know."""
        if self.probabilities is None:
            return None
        known = self.probabilities[np.arange(len(self)), np.maximum(self.truth, 0)]
        return np.where(self.truth == UNSEEN, 0.0, known)

    @cached_property
    def log_losses(self) -> FloatArray | None:
        """Minus the logarithm of the true class's probability, held off 0 and 1 as scikit-learn does."""
        if self.true_probabilities is None or self.prediction.probabilities is None:
            return None
        smallest = float(np.finfo(self.prediction.probabilities.dtype).eps)
        losses: FloatArray = -np.log(np.clip(self.true_probabilities.astype(np.float64), smallest, 1 - smallest))
        return losses

    @cached_property
    def brier_losses(self) -> FloatArray | None:
        """Squared distance from probabilities to truth; halved for two classes, as scikit-learn does."""
        if self.probabilities is None:
            return None
        onehot = self.truth[:, None] == np.arange(self.classes)
        distances: FloatArray = onehot - self.probabilities.astype(np.float64)
        squared: FloatArray = (distances * distances).sum(axis=1)
        return squared / 2 if self.binary else squared

    @cached_property
    def rankings(self) -> tuple[Ranking, ...]:
        """One a class; for two classes that of the positive one only; none without probabilities."""
        scores = self.probabilities
        if scores is None:
            return ()
        wanted = (1,) if self.binary else range(self.classes)
        return tuple(rank(self.truth == each, scores[:, each]) for each in wanted)

    @cached_property
    def errors(self) -> FloatArray:
        """Truth minus predicted value."""
        errors: FloatArray = np.subtract(self.truth, self.prediction.outputs, dtype=np.float64)
        return errors

    @cached_property
    def squared_errors(self) -> FloatArray:
        """Squares of the errors."""
        return np.square(self.errors)

    @cached_property
    def relative_errors(self) -> FloatArray:
        """Absolute errors over absolute truth, which is held off 0 as scikit-learn does."""
        scale = np.maximum(np.abs(self.truth.astype(np.float64)), np.finfo(np.float64).eps)
        shares: FloatArray = np.abs(self.errors) / scale
        return shares

    @cached_property
    def centred(self) -> FloatArray:
        """Truth minus its mean; exactly 0 where the truth does not vary."""
        if not len(self) or self.truth.min() == self.truth.max():
            return np.zeros(len(self))
        return np.asarray(self.truth - self.truth.mean(), dtype=np.float64)


def rank(positive: npt.NDArray[np.bool_], scores: npt.NDArray[Any]) -> Ranking:
    """Find each row's place among the positive ones.

    Parameters
    ----------
    positive : bool array of shape [N]
    scores : array of shape [N]
    """
    rows = np.flatnonzero(positive)
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    falling = -scores[rows]
    above = np.searchsorted(falling, -scores, side="left")
    level = np.searchsorted(falling, -scores, side="right")
    return Ranking(
        positives=rows,
        above=np.where(positive, 0, above),
        level=np.where(positive, 0, level),
        bins=np.where(positive, len(rows) + 1, above),
        first=above[rows],
        last=level[rows],
    )
