"""The bootstrap: how far a metric would move if other rows of the same kind had been drawn.

The nonparametric bootstrap with percentile intervals: N rows are drawn with replacement from the N test rows, the
metric is computed anew, and the interval reaches from the 2.5th to the 97.5th percentile of what was found (B. Efron
and R. Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13). A draw is held as the number of times that
each row was drawn, so nothing is copied or sorted again. A slice shares the draws of the whole, its size varies with
them (a domain estimate).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.steps.evaluate.metrics import Weighted, measure, scores
from pipeline.steps.evaluate.results import Estimate
from pipeline.steps.evaluate.sample import FloatArray, IntArray, Sample

SHARES = (0.025, 0.975)
MIN_DEFINED_SHARE = 0.9  # with fewer resamples in which the metric exists, an interval would be of a chosen few
FEWEST_ROWS = 10  # resamples of fewer repeat them, and say nothing of others: then there is no interval
_CELLS = 1 << 18  # weights held at a time: 2 MiB; with more they leave the cache, with fewer small slices cost more
_STRETCH = 256  # rows that one random byte tells apart


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the rows: all, or a slice.

    Attributes
    ----------
    rows : int array or None
        Their places among all rows, in the order of the sample; None for all.
    """

    sample: Sample
    rows: IntArray | None = None


def resample(parts: Sequence[Part], metrics: Sequence[str], total: int, resamples: int, seed: int) -> FloatArray:
    """Compute metrics over random draws of the rows.

    Parameters
    ----------
    parts : sequence of Part
    metrics : sequence of str
    total : int
        Number of rows that are drawn from, and drawn.
    resamples : int
    seed : int

    Returns
    -------
    array of shape [parts, metrics, resamples]
        NaN where a metric is undefined.
    """
    found = np.full((len(parts), len(metrics), resamples), np.nan)
    random = np.random.Generator(np.random.SFC64(seed))
    size = max(1, _CELLS // max(total, 1))
    for start in range(0, resamples if total else 0, size):
        stop = min(start + size, resamples)
        counts = np.array([draw(total, random) for _ in range(start, stop)], dtype=np.float64)
        for place, part in enumerate(parts):
            rows = Weighted(part.sample, counts if part.rows is None else counts.take(part.rows, axis=1))
            found[place, :, start:stop] = [measure(each, rows) for each in metrics]
    return found


def draw(total: int, random: np.random.Generator) -> IntArray:
    """Draw as many rows as there are, with replacement, and count each.

    First how many fall into each stretch of 256 rows (multinomial), then which: together the same multinomial
    distribution, but one random byte a row and memory read in order.

    Returns
    -------
    int array of shape [total]
        Adds up to ``total``.
    """
    starts = np.arange(0, total, _STRETCH)
    sizes = np.minimum(_STRETCH, total - starts)
    drawn = random.multinomial(total, sizes / total)
    rows = np.repeat(starts, drawn)
    whole = total - int(drawn[-1])
    rows[:whole] += random.integers(0, _STRETCH, whole, dtype=np.uint8)
    rows[whole:] += random.integers(0, sizes[-1], total - whole)
    return np.bincount(rows, minlength=total)


def estimate(sample: Sample, metrics: Sequence[str], drawn: FloatArray) -> dict[str, Estimate]:
    """Join each metric with the interval of its resamples, as `resample` found them: shape [metrics, resamples]."""
    enough = drawn if len(sample) >= FEWEST_ROWS else drawn[:, :0]
    values = zip(metrics, scores(metrics, sample), enough, strict=True)
    return {name: _bound(value, found) for name, value, found in values}


def _bound(value: float, drawn: FloatArray) -> Estimate:
    if np.isnan(value):
        return Estimate(None)
    return Estimate(value, *(interval(drawn) or (None, None)))


def interval(found: FloatArray) -> tuple[float, float] | None:
    """Compute the 95 % percentile interval, or None if the metric was undefined in too many resamples.

    Parameters
    ----------
    found : array of shape [resamples]
    """
    defined = found[~np.isnan(found)]
    if not found.size or defined.size < MIN_DEFINED_SHARE * found.size:
        return None
    low, high = np.quantile(defined, SHARES)
    return float(low), float(high)
