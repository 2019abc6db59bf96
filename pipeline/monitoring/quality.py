"""What a model's quality would be by its own scores, where the truth is not known yet.

A calibrated score says how often it is right. On the test rows each bin of scores was held against the truth; if scores
still mean what they meant then, the rows that were counted in each bin tell how many answers are right. That is an
estimate: it sees that rows have become harder, and cannot see that the same rows have come to mean something else.

As each estimate is made for the test rows too, where the metric itself is known, what their difference is there is
taken off: so nothing is said to have changed where the bins have not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from pipeline.model.reference import Reference, ReferenceFeature
from pipeline.monitoring.counts import Counts

_TWO_SIDED_95 = 1.96
_HALF = 0.5

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A metric of a window, estimated without the truth.

    Attributes
    ----------
    value, low, high : float
        And its interval of 95 %, of the rows that were counted and of the calibration.
    reference : float
        What the release reached on its test rows.
    """

    metric: str
    value: float
    low: float
    high: float
    reference: float

    @property
    def text(self) -> str:
        """The same in words."""
        interval = f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
        fell = ": lower" if self.worse else ""
        return f"{self.metric} by its scores {interval}, on its test rows {self.reference:.3f}{fell}"

    @property
    def worse(self) -> bool:
        """Whether it is lower than on the test rows, by more than its interval."""
        return self.high < self.reference


def estimate_quality(window: Counts, reference: Reference) -> tuple[Estimate, ...]:
    """Estimate the metrics of a window that follow from its scores; none for a model without scores."""
    score = score_of(reference)
    if score is None or not reference.calibration or score.name not in window.features:
        return ()
    rows = rows_by_bin(window.features[score.name])
    tested = np.array([each.rows for each in reference.calibration], np.float64)
    if not rows.sum() or not tested.sum():
        return ()
    right = np.array([each.true for each in reference.calibration], np.float64)
    means = np.array([each.score for each in reference.calibration], np.float64)
    metrics = BINARY if is_binary(reference, score) else OF_LIKELIEST
    found = []
    for name, compute in metrics.items():
        if name in reference.metrics:
            offset = reference.metrics[name] - compute(tested, right, means)
            value = compute(rows, right, means) + offset
            spread = _TWO_SIDED_95 * _deviation(compute, rows, tested, right, means)
            found.append(Estimate(name, value, value - spread, value + spread, reference.metrics[name]))
    return tuple(found)


def score_of(reference: Reference) -> ReferenceFeature | None:
    """Return what is counted of the scores; None for a model without any."""
    return next((each for each in reference.features if each.reading == "score"), None)


def rows_by_bin(bins: Sequence[float]) -> Values:
    """Return the rows in each bin that has a calibration; those beyond it count to the outermost."""
    _missing, below, *inside, above = bins
    rows = np.array(inside, np.float64)
    if len(rows):
        rows[0] += below
        rows[-1] += above
    return rows


def is_binary(reference: Reference, score: ReferenceFeature) -> bool:
    """Tell whether the score is the probability of the second of two classes."""
    classes = next((each for each in reference.features if each.reading == "prediction"), score)
    return classes.bins.count == 3  # missing, and two classes


def _deviation(compute: Compute, rows: Values, tested: Values, right: Values, means: Values) -> float:
    """Compute the standard deviation: each bin's share of right answers varies, then and now, by itself."""
    variance = 0.0
    for place in np.flatnonzero(rows):
        share = (right[place] * tested[place] + 1) / (tested[place] + 2)  # never 0 or 1, by few rows
        step = sqrt(share * (1 - share) * (1 / max(tested[place], 1) + 1 / rows[place]))
        moved = right.copy()
        moved[place] += step
        variance += (compute(rows, moved, means) - compute(rows, right, means)) ** 2
    return sqrt(variance)


Compute = Callable[[Values, Values, Values], float]


def _accuracy(rows: Values, right: Values, means: Values) -> float:
    chosen = np.where(means >= _HALF, right, 1 - right)
    return float((rows * chosen).sum() / rows.sum())


def _precision(rows: Values, right: Values, means: Values) -> float:
    chosen = rows * (means >= _HALF)
    return float((chosen * right).sum() / max(chosen.sum(), 1))


def _recall(rows: Values, right: Values, means: Values) -> float:
    return float((rows * (means >= _HALF) * right).sum() / max((rows * right).sum(), 1e-9))


def _f1(rows: Values, right: Values, means: Values) -> float:
    precision, recall = _precision(rows, right, means), _recall(rows, right, means)
    return 2 * precision * recall / max(precision + recall, 1e-9)


def _roc_auc(rows: Values, right: Values, _means: Values) -> float:
    """Compute the share of pairs of a true and a false row in which the true one has the higher score."""
    true, false = rows * right, rows * (1 - right)
    lower = np.cumsum(false) - false / 2
    return float((true * lower).sum() / max(true.sum() * false.sum(), 1e-9))


def _likeliest(rows: Values, right: Values, _means: Values) -> float:
    return float((rows * right).sum() / rows.sum())


BINARY: Mapping[str, Compute] = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "roc_auc": _roc_auc,
}
OF_LIKELIEST: Mapping[str, Compute] = {"accuracy": _likeliest}
