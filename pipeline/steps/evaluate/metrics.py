"""The metrics, over weighted rows: many weightings of the same rows at once.

Each equals scikit-learn's function of the same meaning with ``sample_weight`` (its user guide, "Metrics and scoring"),
with macro averages and one-vs-rest areas for more than two classes. Where scikit-learn warns and gives a stand-in
because a denominator is 0, these give NaN, but for a precision without predicted positives, which is 0 there and here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.model.task import Task
from pipeline.spec.catalogue.metrics import METRICS
from pipeline.steps.evaluate.sample import FloatArray, Prediction, Ranking, Sample

_CONSTANT = 1e-12  # a resample's variance below this share of its second moment is rounding


@dataclass(frozen=True, eq=False)
class Weighted:
    """A sample under B weightings.

    Attributes
    ----------
    weights : array of shape [B, N]
        How often each row counts.
    """

    sample: Sample
    weights: FloatArray

    @cached_property
    def totals(self) -> FloatArray:
        """Sum of the weights, shape [B]."""
        total: FloatArray = self.weights.sum(axis=1)
        return total

    @cached_property
    def confusion(self) -> FloatArray:
        """Weight by true and predicted class, shape [B, C + 1, C + 1]; the last class is the unseen one."""
        width = self.sample.classes + 1
        cells = self.sample.cells
        counts = np.empty((len(self.weights), width * width))
        for place, weights in enumerate(self.weights):
            counts[place] = np.bincount(cells, weights=weights, minlength=width * width)
        return counts.reshape(-1, width, width)

    def average(self, losses: npt.NDArray[Any] | None) -> FloatArray:
        """Weighted mean over the rows, shape [B]; NaN where nothing is known."""
        if losses is None:
            return np.full(len(self.weights), np.nan)
        return self.add_up(losses) / self.totals

    def add_up(self, losses: npt.NDArray[Any]) -> FloatArray:
        """Weighted sum over the rows, shape [B]; not by BLAS, whose threads wait for each other on a busy machine."""
        added: FloatArray = np.einsum("bi,i->b", self.weights, losses)
        return added


def _accuracy(rows: Weighted) -> FloatArray:
    hits: FloatArray = np.trace(rows.confusion, axis1=1, axis2=2) / rows.totals
    return hits


def _precision(rows: Weighted) -> FloatArray:
    hits, supports, predicted = _margins(rows)
    if rows.sample.binary:
        return np.where((predicted[:, 1] == 0) & (rows.totals > 0), 0.0, hits[:, 1] / predicted[:, 1])
    return _macro(hits, predicted, supports + predicted)


def _recall(rows: Weighted) -> FloatArray:
    hits, supports, predicted = _margins(rows)
    if rows.sample.binary:
        return hits[:, 1] / supports[:, 1]
    return _macro(hits, supports, supports + predicted)


def _f1(rows: Weighted) -> FloatArray:
    hits, supports, predicted = _margins(rows)
    if rows.sample.binary:
        return 2 * hits[:, 1] / (supports + predicted)[:, 1]
    return _macro(2 * hits, supports + predicted, supports + predicted)


def _margins(rows: Weighted) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Compute hits, true rows and predicted rows of each class, each of shape [B, C + 1]."""
    table = rows.confusion
    return np.diagonal(table, axis1=1, axis2=2), table.sum(axis=2), table.sum(axis=1)


def _macro(numerator: FloatArray, denominator: FloatArray, seen: FloatArray) -> FloatArray:
    """Average over the classes that occur, in truth or prediction; 0 for one whose denominator is 0."""
    shares = np.where(denominator == 0, 0.0, numerator / denominator)
    mean: FloatArray = np.where(seen > 0, shares, 0.0).sum(axis=1) / (seen > 0).sum(axis=1)
    return mean


def _roc_auc(rows: Weighted) -> FloatArray:
    return _one_versus_rest(rows, _roc_area)


def _pr_auc(rows: Weighted) -> FloatArray:
    return _one_versus_rest(rows, _average_precision)


def _one_versus_rest(rows: Weighted, area: Callable[[Ranking, FloatArray], FloatArray]) -> FloatArray:
    """Average over the classes that have rows on both sides."""
    rankings = rows.sample.rankings
    if len(rankings) == 1:
        return area(rankings[0], rows.weights)
    if not rankings:
        return np.full(len(rows.weights), np.nan)
    areas = np.array([area(each, rows.weights) for each in rankings])
    mean: FloatArray = np.nansum(areas, axis=0) / np.isfinite(areas).sum(axis=0)
    return mean


def _roc_area(ranking: Ranking, weights: FloatArray) -> FloatArray:
    """Share of (negative, positive) pairs in the right order, a tie counting half (Mann and Whitney, 1947)."""
    positive = _cumulate(weights.take(ranking.positives, axis=1))
    higher = positive.take(ranking.above, axis=1)
    if ranking.tied:
        higher += positive.take(ranking.level, axis=1)
        higher /= 2
    ordered = np.einsum("bi,bi->b", weights, higher)
    whole = positive[:, -1]
    share: FloatArray = ordered / (whole * (weights.sum(axis=1) - whole))
    return share


def _average_precision(ranking: Ranking, weights: FloatArray) -> FloatArray:
    """Sum over thresholds of precision times gain in recall (scikit-learn's ``average_precision_score``)."""
    rows = weights.take(ranking.positives, axis=1)
    positive, size = _cumulate(rows), len(ranking.positives)
    binned = np.array([np.bincount(ranking.bins, each, minlength=size + 2)[: size + 1] for each in weights])
    negative = np.cumsum(binned, axis=1)
    hits = positive.take(ranking.last, axis=1)
    false = negative.take(ranking.first, axis=1)
    precision = np.where(rows > 0, hits / (hits + false), 0.0)
    area: FloatArray = np.einsum("bi,bi->b", rows, precision) / positive[:, -1]
    return np.where(negative[:, -1] > 0, area, np.nan)


def _cumulate(weights: FloatArray) -> FloatArray:
    """Sum from the left, beginning with 0: shape [B, N + 1]."""
    sums = np.empty((weights.shape[0], weights.shape[1] + 1))
    sums[:, 0] = 0
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _r2(rows: Weighted) -> FloatArray:
    """Share of the variance that is explained; NaN where there is none."""
    centred = rows.sample.centred
    second = rows.add_up(centred**2)
    spread = second - rows.add_up(centred) ** 2 / rows.totals
    return np.where(spread > _CONSTANT * second, 1 - rows.add_up(rows.sample.squared_errors) / spread, np.nan)


METRIC_FUNCTIONS: Mapping[str, Callable[[Weighted], FloatArray]] = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "roc_auc": _roc_auc,
    "pr_auc": _pr_auc,
    "log_loss": lambda rows: rows.average(rows.sample.log_losses),
    "brier": lambda rows: rows.average(rows.sample.brier_losses),
    "mse": lambda rows: rows.average(rows.sample.squared_errors),
    "rmse": lambda rows: np.sqrt(rows.average(rows.sample.squared_errors)),
    "mae": lambda rows: rows.average(np.abs(rows.sample.errors)),
    "r2": _r2,
    "mape": lambda rows: rows.average(rows.sample.relative_errors),
}

Scorer: TypeAlias = Callable[[npt.NDArray[Any], Prediction], float]


def measure(metric: str, rows: Weighted) -> FloatArray:
    """Compute a metric under each of B weightings; NaN where it is undefined.

    Returns
    -------
    array of shape [B]
    """
    with np.errstate(all="ignore"):
        found = METRIC_FUNCTIONS[metric](rows)
    return np.where(np.isfinite(found), found, np.nan)


def score(metric: str, sample: Sample) -> float:
    """Compute a metric over rows that count once each; NaN where it is undefined."""
    return scores([metric], sample)[0]


def scores(metrics: Sequence[str], sample: Sample) -> list[float]:
    """Compute metrics over rows that count once each; NaN where one is undefined."""
    if not len(sample):
        return [float("nan")] * len(metrics)
    rows = Weighted(sample, np.ones((1, len(sample))))
    return [float(measure(each, rows)[0]) for each in metrics]


def scorer(metric: str, task: Task) -> Scorer:
    """Build a function that scores a prediction: greater is better, and minus infinity is undefined.

    Parameters
    ----------
    metric : str
        A key of the catalogue; an error or a loss is given with its sign turned.
    task : Task

    Raises
    ------
    ValueError
        If the metric is not one of the task.
    """
    known = METRICS.get(metric)
    if known is None or task not in known.tasks:
        raise ValueError(f"metric: found {metric!r}; expected one for {task}: {', '.join(metrics_of(task))}")
    sign = 1.0 if known.greater_is_better else -1.0

    def score_rows(truth: npt.NDArray[Any], prediction: Prediction) -> float:
        found = sign * score(metric, Sample(truth, prediction))
        return found if np.isfinite(found) else float("-inf")

    return score_rows


def metrics_of(task: Task) -> tuple[str, ...]:
    """Name the metrics that make sense for a task."""
    return tuple(name for name, metric in METRICS.items() if task in metric.tasks)
