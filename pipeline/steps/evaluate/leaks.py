"""Columns that give the target away: one that alone tells it holds what is known only afterwards, or how rows lie.

Each column by itself predicts half of some test rows from the other half: by the rows with the same value, else, for a
number, by those with the nearest one. That costs a sort a column; nothing is fitted, and no row is read for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.messages import quote
from pipeline.model.task import Task
from pipeline.steps.evaluate.sample import FloatArray, IntArray

MOST_ROWS = 4_000
_FEWEST_ROWS = 40  # below, chance alone gives such columns
_SURE = 0.99
"""Share of what varies in the target that a column must explain: r2, or the share of wrong guesses that it mends."""


def find_leaks(rows: pd.DataFrame, truth: npt.NDArray[np.float64], task: Task, seed: int = 0) -> list[str]:
    """Say which columns alone give the target.

    Parameters
    ----------
    rows : DataFrame of shape [N, columns]
        What the model is given of the test rows.
    truth : float64[N]
        True values, or indices of the classes; NaN and -1 are not known.
    seed : int
        Of the choice of rows.
    """
    known = np.flatnonzero(truth >= 0 if task == "classification" else np.isfinite(truth))
    if len(known) < _FEWEST_ROWS:
        return []
    chosen = np.random.default_rng(seed).permutation(known)[:MOST_ROWS]
    rows, truth = rows.iloc[chosen], truth[chosen]
    wanted = truth[:, None] if task == "regression" else (truth[:, None] == np.unique(truth)).astype(np.float64)
    found = {str(name): _explained(rows[name], wanted) for name in rows.columns}
    return [_say(name, share, task) for name, share in found.items() if share >= _SURE]


def _say(name: str, share: float, task: Task) -> str:
    how = f"r2 {share:.4f}" if task == "regression" else f"{share:.1%} of what is wrong without it"
    return (
        f"{quote(name)} alone gives the target ({how}, on test rows): if it is known only afterwards, or numbers "
        "the rows, the model will not keep what it promises (features.drop)"
    )


def _explained(column: pd.Series[Any], truth: FloatArray) -> float:
    """Return the share of what varies in the target of every other row that a column explains by the rows between them.

    Parameters
    ----------
    truth : float64[N, K]
        The target, or 0 and 1 for each class.
    """
    learnt, wanted = truth[::2], truth[1::2]
    groups, places = _match(column)
    sizes = np.bincount(groups)
    means = np.stack([np.bincount(groups, each) / sizes for each in learnt.T], axis=1)
    guessed = np.vstack([means, learnt.mean(axis=0)])[places]  # the last is for a value that was never seen
    if truth.shape[1] > 1:
        hits, classes = guessed.argmax(axis=1), wanted.argmax(axis=1)
        wrong, usual = int((hits != classes).sum()), len(classes) - int(np.bincount(classes).max())
    else:
        wrong, usual = ((guessed - wanted) ** 2).sum(), ((wanted - wanted.mean()) ** 2).sum()
    return float(1 - wrong / usual) if usual > 0 else 0.0


def _match(column: pd.Series[Any]) -> tuple[IntArray, IntArray]:
    """Find the value of every other row, and of each row between them, by its number; -1 where it is unseen."""
    if column.dtype.kind not in "fM":
        known, texts = pd.factorize(column.iloc[::2], use_na_sentinel=False)
        return known, pd.Index(texts).get_indexer(pd.Index(column.iloc[1::2]))
    is_time = column.dtype.kind == "M"
    numbers = (column.to_numpy(dtype="datetime64[us]").astype(np.int64) if is_time else column.to_numpy()).astype(float)
    asked = numbers[1::2]
    values, codes = np.unique(numbers[::2], return_inverse=True)
    right = np.searchsorted(values, asked).clip(1, max(len(values) - 1, 1))
    left = right - 1
    right = right.clip(0, len(values) - 1)
    nearer = np.abs(asked - values[left]) <= np.abs(values[right] - asked)
    return codes, np.where(nearer, left, right)
