"""Permutation importance: how much worse the model gets when a column's values are shuffled.

L. Breiman, "Random Forests", *Machine Learning* 45 (2001), section 10; for any model as in A. Fisher, C. Rudin and
F. Dominici, "All Models are Wrong, but Many are Useful", *JMLR* 20 (2019). Columns that say the same can stand in for
one another, so each may seem unimportant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.steps.evaluate.metrics import scorer
from pipeline.steps.evaluate.results import Importance, Importances
from pipeline.steps.evaluate.sample import IntArray, Prediction

MAX_ROWS = 5_000
MIN_ROWS = 100
MAX_PREDICTIONS = 100_000  # over all columns
MAX_CELLS = 20_000_000  # over all columns; what a very wide frame is held to
_BATCH_CELLS = 1_000_000  # in one call of the model

Predict = Callable[[pd.DataFrame], Prediction]


def permutation_importance(
    frame: pd.DataFrame, truth: npt.NDArray[Any], predict: Predict, metric: str, seed: int
) -> Importances:
    """Measure the importance of each raw column.

    Parameters
    ----------
    frame : DataFrame of shape [N, K]
        Test rows, with the columns that the model reads.
    truth : array of shape [N]
        As for ``evaluate``.
    predict : callable
        Takes a frame with the same columns; several shuffled copies are given in one call.
    metric : str
    seed : int
        Chooses the rows and shuffles.

    Returns
    -------
    Importances
        The most important column first. At most 5,000 rows are used, fewer for more than 20 columns.
    """
    known = np.flatnonzero(~np.isnan(np.asarray(truth, dtype=np.float64)))
    size = min(known.size, _affordable_rows(frame.shape[1]))
    if not size or not frame.shape[1]:
        return Importances(metric, 0, note=_explain(known.size, frame.shape[1]))
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(known, size, replace=False))
    sample, answers = frame.iloc[rows].reset_index(drop=True), truth[rows]
    whole = predict(sample)
    score = scorer(metric, whole.task)
    best = score(answers, whole)
    if not np.isfinite(best):
        return Importances(metric, size, note=f"{metric} is undefined on the rows used")
    drops = [best - score(answers, each) for each in _predict_shuffled(sample, predict, random)]
    found = [Importance(str(name), drop) for name, drop in zip(frame.columns, drops, strict=True) if np.isfinite(drop)]
    return Importances(metric, size, tuple(sorted(found, key=lambda each: -each.drop)))


def _affordable_rows(columns: int) -> int:
    """Compute how many rows the limits allow; 0 if too few to say anything."""
    rows = min(MAX_ROWS, MAX_PREDICTIONS // max(columns, 1), MAX_CELLS // max(columns, 1) ** 2)
    return rows if rows >= MIN_ROWS else 0


def _explain(rows: int, columns: int) -> str:
    if not rows:
        return "there are no test rows"
    return f"not computed for {columns:,} columns: it would take longer than it is worth"


def _predict_shuffled(frame: pd.DataFrame, predict: Predict, random: np.random.Generator) -> Iterator[Prediction]:
    """Predict with one column shuffled after the other, several columns in a call."""
    rows, columns = frame.shape
    step = max(1, _BATCH_CELLS // (rows * columns))
    shuffled = random.permutation(rows)
    for start in range(0, columns, step):
        stop = min(start + step, columns)
        predicted = predict(_shuffle(frame, range(start, stop), shuffled))
        for place in range(stop - start):
            yield predicted.take(slice(place * rows, (place + 1) * rows))


def _shuffle(frame: pd.DataFrame, places: range, shuffled: IntArray) -> pd.DataFrame:
    """Stack one copy of the frame for each place, in which that column is shuffled."""
    kept = np.tile(np.arange(len(frame)), len(places))
    copies = {}
    for place, name in enumerate(frame.columns):
        order = kept
        if place in places:
            order = kept.copy()
            start = places.index(place) * len(frame)
            order[start : start + len(frame)] = shuffled
        copies[name] = frame[name].array.take(order)
    return pd.DataFrame(copies, copy=False)
