"""Quality of what was really answered, where callers told what came true (``POST /api/truth``).

Servers count these rows by the bin of their score, as the calibration of the test rows is counted, or add up errors. So
metrics of both are computed in the same way; what that differs by from the metric itself, on the test rows, is taken
off. Accuracy is compared exactly, since few answers are wrong; the others by their deviation (the delta method).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil, floor, hypot, sqrt

import numpy as np

from pipeline.model.reference import Reference
from pipeline.monitoring.counts import Bins
from pipeline.monitoring.quality import BINARY, OF_LIKELIEST, Compute, Values, is_binary, rows_by_bin, score_of
from pipeline.monitoring.truth import Known, chance_of

_TWO_SIDED_95 = 1.96
_HALF = 0.5
"""Of a row, added to both outcomes of a bin: so few rows are never all right for sure."""


@dataclass(frozen=True)
class _Sample:
    """Rows by the bin of their score: those of which its claim came true, and the others."""

    true: Values
    false: Values
    means: Values

    @property
    def rows(self) -> Values:
        return self.true + self.false

    def compute(self, metric: Compute) -> float:
        rows = self.rows
        return metric(rows, np.divide(self.true, rows, out=np.zeros_like(rows), where=rows > 0), self.means)

    def deviation(self, metric: Compute) -> float:
        """Compute the standard deviation of a metric, by what one row more of each kind would change."""
        filled = np.where(self.rows > 0, _HALF, 0.0)
        smooth = _Sample(self.true + filled, self.false + filled, self.means)
        value, total = smooth.compute(metric), smooth.rows.sum()
        mean = square = 0.0
        for place in np.flatnonzero(filled):
            one = np.zeros_like(filled)
            one[place] = 1.0
            for kind, more in ((smooth.true, (one, 0.0)), (smooth.false, (0.0, one))):
                moved = _Sample(smooth.true + more[0], smooth.false + more[1], self.means).compute(metric)
                influence, share = (moved - value) * total, kind[place] / total
                mean, square = mean + share * influence, square + share * influence**2
        return sqrt(max(square - mean**2, 0.0) / total)


def judge_told(truth: Mapping[str, Bins], reference: Reference, level: float, weight: float = 1.0) -> tuple[Known, ...]:
    """Hold the answers whose truth came against those of the test rows.

    Parameters
    ----------
    truth : mapping
        What is counted (`pipeline.serving.observing.truth`) → by bin.
    level : float
        Probability below which chance is ruled out.
    weight : float
        What a row counts, between 0 and 1: requests by rows.
    """
    if not sum(truth.get("rows", ())):
        return ()
    found = _of_classes(truth, reference, weight) if "true" in truth else _of_numbers(truth, reference, weight)
    rows = round(sum(truth["rows"]))
    return tuple(
        Known(name, value, value - spread, value + spread, reference.metrics[name], chance, level, rows)
        for name, value, spread, chance in found
        if name in reference.metrics
    )


_Found = tuple[str, float, float, float]
"""A metric, its value, the half of its interval, and the chance of one so much worse."""


def _of_classes(truth: Mapping[str, Bins], reference: Reference, weight: float) -> Iterator[_Found]:
    now, then, metrics = _samples(truth, reference)
    for name, compute in metrics.items():
        if name not in reference.metrics or not then.rows.sum():
            continue
        value, before = now.compute(compute), then.compute(compute)
        own, other = now.deviation(compute) / sqrt(weight), then.deviation(compute)
        if name == "accuracy":
            chance = _chance_of_errors(now, then, 1 - value, 1 - before, weight)
        else:
            chance = chance_of(name, value - before, _TWO_SIDED_95 * hypot(own, other))
        yield name, value + reference.metrics[name] - before, _TWO_SIDED_95 * own, chance


def _samples(truth: Mapping[str, Bins], reference: Reference) -> tuple[_Sample, _Sample, Mapping[str, Compute]]:
    """Return the answers whose truth came, those of the test rows, and what can be computed of both."""
    score = score_of(reference)
    if score is not None and reference.calibration and len(truth["rows"]) == score.bins.count:
        rows, true = rows_by_bin(truth["rows"]), rows_by_bin(truth["true"])
        tested = np.array([each.rows for each in reference.calibration], np.float64)
        right = np.array([each.true for each in reference.calibration]) * tested
        means = np.array([each.score for each in reference.calibration])
        metrics = BINARY if is_binary(reference, score) else OF_LIKELIEST
        return _Sample(true, rows - true, means), _Sample(right, tested - right, means), metrics
    rows, true = np.array([sum(truth["rows"])]), np.array([sum(truth["true"])])
    tested = np.array([_tested(reference)])
    right = tested * reference.metrics.get("accuracy", 0.0)
    ones = np.ones(1)
    return _Sample(true, rows - true, ones), _Sample(right, tested - right, ones), OF_LIKELIEST


def _tested(reference: Reference) -> float:
    """Return how many test rows there were."""
    return float(next((each.rows for each in reference.features if each.reading == "prediction"), 0))


def _chance_of_errors(now: _Sample, then: _Sample, wrong: float, wrong_then: float, weight: float) -> float:
    """Compute the probability of so many wrong answers among all that are wrong, now and then."""
    from scipy.special import bdtrc

    rows, tested = now.rows.sum() * weight, then.rows.sum()
    errors = wrong * rows
    total = errors + wrong_then * tested
    return float(bdtrc(floor(errors) - 1, ceil(total), rows / (rows + tested))) if errors >= 1 else 1.0


def _of_numbers(truth: Mapping[str, Bins], reference: Reference, weight: float) -> Iterator[_Found]:
    """Compute the errors of numbers; of those of the test rows only the mean is known, so they vary as now."""
    rows, over, under, square, fourth = (truth.get(name, (0.0,))[0] for name in _SUMS)
    tested = _tested(reference)
    absolute, squared = (over + under) / rows, square / rows
    deviations = {
        "mae": sqrt(max(squared - absolute**2, 0.0) / rows / weight),
        "mse": sqrt(max(fourth / rows - squared**2, 0.0) / rows / weight),
    }
    deviations["rmse"] = deviations["mse"] / (2 * sqrt(squared)) if squared else 0.0
    values = {"mae": absolute, "mse": squared, "rmse": sqrt(squared)}
    for name, value in values.items():
        if name in reference.metrics and tested:
            own = _TWO_SIDED_95 * deviations[name]
            both = hypot(own, own * sqrt(rows * weight / tested))
            yield name, value, own, chance_of(name, value - reference.metrics[name], both)


_SUMS = ("rows", "over", "under", "square", "fourth")
