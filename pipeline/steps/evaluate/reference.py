"""The reference of a release: bins of its raw columns and predictions, with the shares of training and test rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf

import numpy as np
import numpy.typing as npt

from pipeline.model.reference import (
    MAX_BINS,
    MAX_PARTS,
    Bins,
    CategoryBins,
    NumberBins,
    PartBins,
    Reading,
    Reference,
    ReferenceFeature,
    ScoreBin,
)
from pipeline.model.signature import Input, Signature
from pipeline.serving.observing.bins import bin_numbers, claims
from pipeline.steps.evaluate.results import Importances
from pipeline.steps.evaluate.sample import Prediction
from pipeline.steps.quantiles import Quantiles, summarize
from pipeline.steps.raw_columns import RawColumn, RawColumns, RawCounts, RawNumbers

_HOURS, _WEEKDAYS = 24, 7
_HALF = 0.5
"""Probability from which on a row counts as of the second of two classes."""
_FEWEST = 5
"""Training rows that a category must have, for its value to stand in a release."""


def build_reference(
    raw: RawColumns,
    signature: Signature,
    importances: Importances,
    truth: npt.NDArray[np.generic],
    prediction: Prediction,
    max_columns: int,
) -> Reference:
    """Build the reference of a model.

    Parameters
    ----------
    raw : mapping
        What the raw columns of the training rows look like.
    importances : Importances
        Decides which columns are kept, if there are more than `max_columns`.
    truth, prediction : array and Prediction
        Of the test rows.
    """
    order = {each.column: place for place, each in enumerate(importances.columns)}
    columns = sorted(signature.inputs, key=lambda each: order.get(each.name, len(order)))[:max_columns]
    features = [feature for each in columns for feature in _of_column(each, raw)]
    scores = _scores(prediction)
    predicted = [*_of_predictions(prediction, signature)] if max_columns and len(prediction) else []
    calibration: tuple[ScoreBin, ...] = ()
    if predicted and scores is not None:
        scored = _number_feature("(score)", "", "score", _numbers(scores), apart=_HALF)
        predicted.append(scored)
        calibration = tuple(_calibrate(scored.bins, scores, _came_true(truth, prediction)))
    return Reference(1, (*features, *predicted), calibration)


def _of_column(column: Input, raw: RawColumns) -> Iterator[ReferenceFeature]:
    name = column.name
    own = raw.get(name)
    if isinstance(own, RawNumbers):
        yield _number_feature(name, name, "value", own)
    elif isinstance(own, RawCounts) and own.counts is not None and len(own.counts) <= own.rows / 2:
        yield _category_feature(name, own.rows, own.counts)
    elif column.kind == "text":
        yield from _numbers_read(name, "length", raw)
    elif column.kind == "image":
        yield from _numbers_read(name, "brightness", raw)
    else:
        yield _part_feature(name, "hour", raw[f"{name}[hour]"], _HOURS)
        yield _part_feature(name, "weekday", raw[f"{name}[weekday]"], _WEEKDAYS)


def _numbers_read(name: str, reading: Reading, raw: RawColumns) -> Iterator[ReferenceFeature]:
    found = raw.get(f"{name}[{reading}]")
    if isinstance(found, RawNumbers):
        yield _number_feature(f"{name}[{reading}]", name, reading, found)


def _number_feature(
    name: str, column: str, reading: Reading, found: RawNumbers, apart: float = inf
) -> ReferenceFeature:
    starts, weights = cut_bins(found.quantiles, apart=apart)
    missing = found.rows - sum(weights)
    high = found.high if starts else 0.0
    if starts:  # of a long summary the smallest value is the middle of a bucket
        starts[0] = found.low
    counts = [missing, 0.0, *weights, 0.0]
    return ReferenceFeature(name, column, reading, found.rows, NumberBins(tuple(starts), high), _shares(counts))


def cut_bins(summary: Quantiles, most: int = MAX_BINS, apart: float = inf) -> tuple[list[float], list[float]]:
    """Cut values into bins of about the same mass; a value that has as much by itself has a bin of its own.

    Parameters
    ----------
    apart : float, optional
        No bin has values on both sides of it.

    Returns
    -------
    tuple of lists
        Where each bin begins, and its values' number.
    """
    starts: list[float] = []
    weights: list[float] = []
    fewest, few = summary.count / most, len(summary.values) <= most
    heavy, before = False, -inf
    for value, weight in zip(summary.values.tolist(), summary.weights.tolist(), strict=True):
        parted = before < apart <= value
        if not starts or few or heavy or weight >= fewest or weights[-1] >= fewest or parted:
            starts.append(apart if parted and starts and not few else value)
            weights.append(0.0)
        weights[-1] += weight
        heavy, before = weight >= fewest, value
    return starts, weights


def _category_feature(name: str, rows: int, counts: Mapping[str, int]) -> ReferenceFeature:
    """Count categories; what few rows have is nobody's business: it is not kept, and counts as unknown."""
    missing = counts.get("", 0)
    known = {value: count for value, count in counts.items() if value and count >= _FEWEST}
    listed = sorted(known.items(), key=lambda each: (-each[1], each[0]))
    own, rare = listed[:MAX_BINS], listed[MAX_BINS:]
    bins = CategoryBins(tuple(value for value, _ in own), tuple(sorted(value for value, _ in rare)))
    unknown = rows - missing - sum(known.values())
    counted = [missing, unknown, sum(count for _, count in rare), *(count for _, count in own)]
    return ReferenceFeature(name, name, "value", rows, bins, _shares(counted))


def _part_feature(column: str, reading: Reading, found: RawColumn, size: int) -> ReferenceFeature:
    counts = found.counts if isinstance(found, RawCounts) and found.counts is not None else {}
    counted = [counts.get("", 0), *(counts.get(str(part), 0) for part in range(size))]
    return ReferenceFeature(f"{column}[{reading}]", column, reading, found.rows, PartBins(size), _shares(counted))


def _of_predictions(prediction: Prediction, signature: Signature) -> Iterator[ReferenceFeature]:
    """Yield what is predicted: numbers, or classes if there are not too many of them to count each."""
    if signature.classes is None:
        yield _number_feature("(prediction)", "", "prediction", _numbers(prediction.outputs))
    elif len(signature.classes) <= MAX_PARTS:
        size = len(signature.classes)
        counts = [0, *np.bincount(prediction.outputs.astype(np.int64), minlength=size).tolist()]
        yield ReferenceFeature("(prediction)", "", "prediction", len(prediction), PartBins(size), _shares(counts))


def _numbers(values: npt.NDArray[np.generic]) -> RawNumbers:
    numbers = np.asarray(values, dtype=np.float64)
    present = numbers[np.isfinite(numbers)]
    low, high = present.min(initial=np.inf), present.max(initial=-np.inf)
    return RawNumbers(len(numbers), float(low), float(high), summarize(present))


def _scores(prediction: Prediction) -> npt.NDArray[np.float64] | None:
    """Compute what is claimed of each row; None without probabilities of several classes."""
    probabilities = prediction.probabilities
    if probabilities is None or probabilities.ndim != 2 or probabilities.shape[1] < 2:
        return None
    return claims(probabilities)


def _came_true(truth: npt.NDArray[np.generic], prediction: Prediction) -> npt.NDArray[np.bool_]:
    probabilities = prediction.probabilities
    binary = probabilities is not None and probabilities.shape[1] == 2
    return np.asarray(truth == (1 if binary else prediction.outputs))


def _calibrate(bins: Bins, scores: npt.NDArray[np.float64], true: npt.NDArray[np.bool_]) -> Iterator[ScoreBin]:
    if not isinstance(bins, NumberBins):
        return
    places = bin_numbers(bins, scores) - 2
    for place in range(len(bins.starts)):
        mine = places == place
        rows = int(mine.sum())
        means = (float(np.clip(scores[mine].mean(), 0, 1)), float(true[mine].mean())) if rows else (0.0, 0.0)
        yield ScoreBin(rows, *means)


def _shares(counts: Sequence[float]) -> tuple[float, ...]:
    total = sum(counts)
    return tuple(min(max(count / total, 0.0), 1.0) if total else 0.0 for count in counts)
