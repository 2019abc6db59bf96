"""Outliers with fitted bounds: clipped in the graph, or left out of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.spec.schema.spec import Outliers, Spec
from pipeline.steps.features import Needs, Transform, needs_of
from pipeline.steps.normalize.preprocessing import NumberRule, Preprocessing, finite
from pipeline.steps.statistics import Statistics, measure_rows, merge


def bound(rule: NumberRule, outliers: Outliers | None, statistics: Statistics) -> NumberRule:
    """Find the bounds of a column's values, from the training rows where it is present."""
    if outliers is None:
        return rule
    lower, upper = _BOUNDS[outliers.by](statistics, rule.name, outliers)
    return replace(rule, lower=finite(lower), upper=finite(upper), drops=outliers.action == "drop")


def _quantile_bounds(statistics: Statistics, name: str, rule: Outliers) -> tuple[float, float]:
    low, high = rule.bounds or (0.01, 0.99)
    quantiles = statistics.quantiles[name]
    return quantiles.quantile(low), quantiles.quantile(high)


def _iqr_bounds(statistics: Statistics, name: str, rule: Outliers) -> tuple[float, float]:
    """Tukey's fences."""
    low, high = (statistics.quantiles[name].quantile(share) for share in (0.25, 0.75))
    reach = (rule.factor or 1.5) * (high - low)
    return low - reach, high + reach


def _zscore_bounds(statistics: Statistics, name: str, rule: Outliers) -> tuple[float, float]:
    place, moments = statistics.place(name), statistics.moments
    mean, count = float(moments.mean[place]), float(moments.count[place])
    reach = (rule.factor or 3.0) * math.sqrt(float(moments.m2[place]) / max(count, 1))
    return (mean - reach, mean + reach) if count else (math.nan, math.nan)


_BOUNDS: Mapping[str, Callable[[Statistics, str, Outliers], tuple[float, float]]] = {
    "quantile": _quantile_bounds,
    "iqr": _iqr_bounds,
    "zscore": _zscore_bounds,
}


def outlier_rows(frame: pd.DataFrame, preprocessing: Preprocessing) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Tell which rows are outliers that the spec drops; they are left out of training, and of nothing else.

    Returns
    -------
    bool[n]
    """
    return _beyond(frame, preprocessing.numbers)


def _beyond(frame: pd.DataFrame, rules: Sequence[NumberRule]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    result = np.zeros(len(frame), dtype=np.bool_)
    for rule in rules:
        if not rule.drops:
            continue
        values = frame[rule.name].to_numpy(dtype=np.float64)
        low = -math.inf if rule.lower is None else rule.lower
        high = math.inf if rule.upper is None else rule.upper
        result |= (values < low) | (values > high)
    return result


def measure_again(
    frames: Iterable[pd.DataFrame], rules: Mapping[str, NumberRule], spec: Spec, transform: Transform
) -> Statistics:
    """Measure the training rows that stay, with their values clipped.

    Raises
    ------
    DataError
        There is no frame.
    """
    parts = [_measure_part(frame, rules, spec, transform) for frame in frames]
    return merge(parts)


def _measure_part(given: pd.DataFrame, rules: Mapping[str, NumberRule], spec: Spec, transform: Transform) -> Statistics:
    names = tuple(each.name for each in transform.features)
    frame = given[~_beyond(given, list(rules.values()))]
    values = frame[list(names)].to_numpy(dtype=np.float64, copy=True)
    for i, name in enumerate(names):
        rule = rules.get(name)
        if rule and (rule.lower is not None or rule.upper is not None):
            values[:, i] = np.clip(values[:, i], rule.lower, rule.upper)
    labels = frame[[*(each.name for each in transform.labels), *(each.name for each in transform.words)]]
    return measure_rows(values, labels, names, _without_sources(needs_of(spec, transform), transform))


def _without_sources(needs: Needs, transform: Transform) -> Needs:
    kept = set(transform.names)
    counted, ranked = (tuple(name for name in names if name in kept) for names in (needs.counted, needs.ranked))
    return Needs(counted, ranked, needs.worded)
