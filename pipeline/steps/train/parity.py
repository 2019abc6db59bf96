"""Whether a graph predicts what the model that it was written from predicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from pipeline.model.graphs import run
from pipeline.steps.train.graph import INPUT, label_of
from pipeline.steps.train.mapping import blocks, few_rows
from pipeline.steps.train.results import Array, Matrix, Parity, Predict

MAX_DATA_ROWS = 4000
MAX_BOUNDARY_ROWS = 2000


def compare(
    expected: Array,
    actual: Array,
    expected_labels: Array | None = None,
    labels: Array | None = None,
    *,
    unit: float = 1.0,
) -> Parity:
    """Measure the distance of a graph's output from the model's.

    Parameters
    ----------
    expected, actual : ndarray of shape (rows,) or (rows, classes)
        Values or probabilities of the model and of the graph.
    expected_labels, labels : ndarray of shape (rows,), optional
        Class indices of the model and of the graph.
    unit : float
        What a difference is measured in, where the value itself is not larger (`unit_of`).
    """
    if expected.shape != actual.shape:
        raise ValueError(f"the model gave {expected.shape}, the graph {actual.shape}")
    with np.errstate(invalid="ignore"):
        gaps = np.abs(actual.astype(np.float64) - expected) / np.maximum(unit, np.abs(expected))
    # Equal infinities or two NaNs are no predictions either, and their gap is NaN.
    largest = float(gaps.max(initial=0.0)) if np.isfinite(gaps).all() else float("inf")
    differing = 0 if labels is None or expected_labels is None else int((labels != expected_labels).sum())
    return Parity(largest, differing, len(expected))


def unit_of(target: Array) -> float:
    """Return the unit of a target: the standard deviation of numbers, or 1 where all are the same; 1 for class indices.

    Frameworks that add up in single precision round each term, and a small value can be the sum of large ones; how
    precise a value is has nothing to do with whether the target is in grams or in tonnes.
    """
    return 1.0 if target.dtype == np.int64 else float(np.std(target)) or 1.0


def measure_parity(graph: onnx.ModelProto, predict: Predict, rows: Array, unit: float = 1.0) -> Parity:
    """Run a graph and the model on the same rows and compare.

    Parameters
    ----------
    predict : callable
        ``Fitted.predict``.
    rows : ndarray of float32, shape (rows, columns)
    unit : float
        Of the target (`unit_of`).
    """
    outputs = run(graph, {INPUT: rows})
    expected = predict(rows)
    if "prediction" in outputs:
        return compare(expected, outputs["prediction"], unit=unit)
    return compare(expected, outputs["probabilities"], label_of(expected), outputs["label"])


def rows_to_compare(matrix: Matrix, thresholds: Sequence[Array]) -> Array:
    """Return rows on which a graph must agree with its model.

    Validation rows (training rows where there are too few), then rows at the limits: each feature at the smallest, the
    largest and no amount, and on each side of the thresholds that trees compare it with.

    Parameters
    ----------
    thresholds : sequence of ndarray
        For each column, the thresholds of the trees; empty for other models.
    """
    data = np.concatenate([spread(matrix.validation, MAX_DATA_ROWS), spread(matrix.train, MAX_DATA_ROWS)])[
        :MAX_DATA_ROWS
    ]
    ends = [(np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)) for block in blocks(matrix.train)]
    smallest, largest = np.fmin.reduce([each for each, _ in ends]), np.fmax.reduce([each for _, each in ends])
    limits = np.nan_to_num(np.stack([smallest, largest, np.zeros_like(smallest)]))
    return np.ascontiguousarray(np.concatenate([data, limits, *_threshold_rows(data, thresholds)]), dtype=np.float32)


def spread(rows: Array, count: int) -> Array:
    """Return at most `count` rows, evenly spaced."""
    if len(rows) <= count:
        return rows
    return few_rows(rows, np.linspace(0, len(rows) - 1, count).astype(np.int64))


def _threshold_rows(data: Array, thresholds: Sequence[Array]) -> list[Array]:
    """Put real rows at the thresholds: one feature at a time, and all features at once."""
    values = [_neighbors(spread(each, MAX_BOUNDARY_ROWS)) for each in thresholds]
    if not any(len(each) for each in values):
        return []
    single = data[np.arange(MAX_BOUNDARY_ROWS) % len(data)].copy()
    column = np.repeat(np.arange(len(values)), [len(each) for each in values])
    value = np.concatenate(values)
    chosen = spread(np.arange(len(value)), MAX_BOUNDARY_ROWS)
    single = single[: len(chosen)]
    single[np.arange(len(chosen)), column[chosen]] = value[chosen]
    longest = min(max(len(each) for each in values), MAX_BOUNDARY_ROWS)
    whole = data[np.arange(longest) % len(data)].copy()
    for position, each in enumerate(values):
        if len(each):
            whole[:, position] = each[np.arange(longest) % len(each)]
    return [single, whole]


def _neighbors(thresholds: Array) -> Array:
    """Return the float32 numbers next to each threshold: at or below, nearest, above."""
    finite = thresholds[np.isfinite(thresholds)]
    nearest = finite.astype(np.float32)
    below, above = (np.nextafter(nearest, np.float32(sign)) for sign in (-np.inf, np.inf))
    return np.unique(np.concatenate([nearest, below, above]))
