"""Whether a feature has moved: by how much, and whether chance explains it.

How much is the population stability index, the sum of (q - p) ln(q / p) over the bins, of shares p then and q now. By
itself it says little: a few hundred rows that are distributed as ever reach 0.1 in twenty bins. So a feature has moved
if its index is beyond a limit *and* chance does not explain it.

Chance is told by two tests: that of Pearson over the bins that are frequent enough for it, the others put together, and
for each rare bin, such as what is missing now and never was, the exact probability of as many rows in it. Rows of one
request are no independent observations, so a row counts as much less as a request has more of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FREQUENT = 10
"""Expected rows of a bin, of each side, from which Pearson's test holds far out in its tail."""
_HALF = 0.5
"""Rows of the window that are added to each bin of both sides, so that an empty one has a share."""

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Moved:
    """How the rows of a feature are distributed now, beside then.

    Attributes
    ----------
    index : float
        The population stability index; 0 if nothing moved.
    chance : float
        Probability of such a difference if nothing has moved.
    limit : float
        Index up to which a difference does not matter.
    level : float
        Probability below which chance is ruled out.
    """

    feature: str
    index: float
    chance: float
    limit: float
    level: float

    @property
    def drifted(self) -> bool:
        """Whether the feature has moved."""
        return self.index > self.limit and self.chance < self.level


def compare(
    feature: str,
    then: Sequence[float],
    now: Sequence[float],
    *,
    limit: float,
    level: float,
    weight: float = 1.0,
) -> Moved:
    """Compare the rows in the bins of a feature with those of the reference, or of another window.

    Parameters
    ----------
    then, now : sequence of float
        Rows in each bin, of at least one row each.
    weight : float
        What a row of `now` counts, between 0 and 1: requests by rows.
    """
    before, after = np.asarray(then, np.float64), np.asarray(now, np.float64)
    return Moved(feature, stability_index(before, after), chance_of(before, after * weight), limit, level)


def stability_index(before: Rows, after: Rows) -> float:
    """Compute the population stability index of rows in bins, as the rules of Prometheus do."""
    known = (before > 0) | (after > 0)
    added = _HALF / after.sum()
    p, q = (each[known] / each.sum() + added for each in (before, after))
    return float(((q - p) * np.log(q / p)).sum() / (1 + known.sum() * added))


def chance_of(before: Rows, after: Rows) -> float:
    """Compute the probability of such a difference between two samples of one distribution."""
    from scipy.special import bdtrc, chdtrc

    both = before + after
    share = after.sum() / both.sum()
    frequent = both * min(share, 1 - share) >= _FREQUENT
    table = np.array([[*each[frequent], each[~frequent].sum()] for each in (before, after)])
    table = table[:, table.sum(axis=0) * min(share, 1 - share) >= _FREQUENT]
    chances = []
    if table.shape[1] > 1 and table.sum(axis=1).all():  # else all rows of one side are in rare bins
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        chances.append(float(chdtrc(table.shape[1] - 1, ((table - expected) ** 2 / expected).sum())))
    rare = [(now, total) for now, total in zip(after[~frequent], both[~frequent], strict=True) if now >= 1]
    if rare:  # bdtrc(k, n, p) is the probability of more than k
        least = min(float(bdtrc(math.floor(now) - 1, math.ceil(total), share)) for now, total in rare)
        chances.append(least * len(rare))
    return min([1.0, *(each * len(chances) for each in chances)])
