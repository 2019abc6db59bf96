"""Fitting fills, bounds, encodings and scales to the statistics of the training rows.

The parameters equal those of scikit-learn's ``SimpleImputer``, a clip, and ``StandardScaler``, ``MinMaxScaler`` or
``RobustScaler`` in a row, fitted on all training rows at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from pipeline.errors import DataError
from pipeline.model.graphs import run
from pipeline.spec.schema.spec import Missing, Spec
from pipeline.steps.features import (
    Feature,
    TextFeature,
    Transform,
    category_fill,
    fitted_outliers,
    normalize_rule,
    number_fill,
    source_name,
)
from pipeline.steps.normalize.outliers import bound, measure_again
from pipeline.steps.normalize.preprocessing import CategoryRule, NumberRule, Preprocessing, finite
from pipeline.steps.normalize.words import WordRule, fit_words
from pipeline.steps.quantiles import Quantiles
from pipeline.steps.statistics import Counts, Statistics

EPSILON = float(np.finfo(np.float64).eps)

Scale: TypeAlias = tuple[float, float]
NO_SCALE: Scale = (0.0, 1.0)


def fit(
    statistics: Statistics, spec: Spec, transform: Transform, training_frames: Iterable[pd.DataFrame] | None = None
) -> Preprocessing:
    """Fit all that normalization needs.

    Parameters
    ----------
    statistics : Statistics
        Those of all training rows.
    training_frames : iterable of DataFrame, optional
        The transformed training rows, in parts, which can be read more than once; needed only where
        `needs_second_pass` says so: scales are those of the clipped values or of the rows that stay, or vectors are
        learnt from the words themselves.

    Raises
    ------
    DataError
        There is no training row, or the second pass is needed and has no frames.
    """
    if not statistics.rows:
        raise DataError("normalize: no training rows; expected at least one (split, clean)")
    fills = _Fills(statistics, spec, transform)
    rules = {each.name: fills.rule(each) for each in transform.features if not each.encoding}
    outliers = fitted_outliers(spec, transform)
    rules = {name: bound(rule, outliers.get(name), statistics) for name, rule in rules.items()}
    if outliers:
        if training_frames is None:
            raise DataError("normalize: outliers with fitted bounds need a second pass; expected the training frames")
        statistics = measure_again(training_frames, rules, spec, transform)
        if not statistics.rows:
            raise DataError("normalize: every training row has an outlier; expected wider bounds (clean.outliers)")
    numbers = tuple(
        _scale(_cut(rules[each.name], each, statistics), normalize_rule(spec, each), statistics)
        for each in transform.features
        if not each.encoding
    )
    coded = [each for each in transform.features if each.encoding]
    categories = [_encode(each, spec, statistics, fills, text=False) for each in coded]
    categories += [_encode(each, spec, statistics, fills, text=True) for each in transform.labels]
    return Preprocessing(
        numbers,
        tuple(categories),
        tuple(each.name for each in transform.features),
        tuple(each.name for each in transform.labels),
        statistics.rows,
        max((each.error / max(each.count, 1) for each in statistics.quantiles.values()), default=0.0),
        tuple(fills.notes),
        tuple(_fit_words(each, statistics, training_frames, spec.model.seed) for each in transform.words),
        tuple(name for each in transform.sentences for name in each.columns),
    )


@dataclass(frozen=True)
class _Sentences:
    """The words of each training row, read anew each time."""

    frames: Iterable[pd.DataFrame]
    column: str

    def __iter__(self) -> Iterator[list[str]]:
        for frame in self.frames:
            yield from (text.split(" ") for text in frame[self.column].fillna("") if text)


def _fit_words(
    feature: TextFeature, statistics: Statistics, frames: Iterable[pd.DataFrame] | None, seed: int
) -> WordRule:
    counts = statistics.words.get(feature.name, {})
    return fit_words(feature, counts, statistics.rows, _Sentences(frames or (), feature.name), seed)


def needs_second_pass(spec: Spec, transform: Transform) -> bool:
    """Whether `fit` reads the training rows themselves, besides their statistics."""
    return bool(fitted_outliers(spec, transform)) or any(each.rule.kind == "word2vec" for each in transform.words)


class _Fills:
    """Finds what replaces missing values, and notes what is odd."""

    def __init__(self, statistics: Statistics, spec: Spec, transform: Transform) -> None:
        self.statistics, self.spec = statistics, spec
        self.places = {name: i for i, name in enumerate(statistics.columns)}
        self.notes: list[str] = []
        self.refilled = self._refill(transform)

    def _refill(self, transform: Transform) -> dict[str, float]:
        """Apply the transformers to the fills of their columns."""
        if transform.refill is None:
            return {}
        sources = [self.number(source_name(name), number_fill(self.spec, name), name) for name in transform.sources]
        row = run(transform.refill, {"sources": np.array([sources])})["features"][0].tolist()
        return dict(zip((each.name for each in transform.features if each.from_source), row, strict=True))

    def number(self, entry: str, rule: Missing, column: str) -> float:
        """Find the fill of a number; NaN leaves it missing."""
        if rule.fill == "keep":
            return math.nan
        if rule.fill == "constant" and isinstance(rule.value, bool | int | float):
            return float(rule.value)
        if not self.statistics.moments.count[self.places[entry]]:
            self.notes.append(f"{column} has no value in any training row: it is filled with 0")
            return 0.0
        return _FILLS[rule.fill](self.statistics, entry, self.places[entry])

    def rule(self, feature: Feature) -> NumberRule:
        if feature.origin == "indicator":
            return NumberRule(feature.name)
        if feature.from_source:
            return NumberRule(feature.name, finite(self.refilled[feature.name]))
        fill = self.number(feature.name, number_fill(self.spec, feature.column), feature.column)
        return NumberRule(feature.name, finite(fill))


def _mode(counts: Counts) -> Any:
    """Find the most frequent value, of equally frequent ones the smallest, as scikit-learn does."""
    return min(counts.items(), key=lambda item: (-item[1], item[0]))[0]


_FILLS: Mapping[str, Callable[[Statistics, str, int], float]] = {
    "mean": lambda statistics, _, place: float(statistics.moments.mean[place]),
    "median": lambda statistics, entry, _: statistics.quantiles[entry].quantile(0.5),
    "mode": lambda statistics, entry, _: float(_mode(statistics.counts[entry])),
}


def _cut(rule: NumberRule, feature: Feature, statistics: Statistics) -> NumberRule:
    """Find the edges of bins of equally many training rows; bins that would be empty are left out."""
    if not feature.bins:
        return rule
    quantiles = _filled(rule, statistics)
    inner = (quantiles.quantile(i / feature.bins) for i in range(1, feature.bins))
    edges = sorted({edge for edge in inner if math.isfinite(edge)})
    return replace(rule, edges=tuple(edges) or (0.0,))


def _clipped_fill(rule: NumberRule) -> float | None:
    if rule.fill is None or rule.drops:
        return rule.fill
    low = -math.inf if rule.lower is None else rule.lower
    high = math.inf if rule.upper is None else rule.upper
    return min(max(rule.fill, low), high)


def _filled(rule: NumberRule, statistics: Statistics) -> Quantiles:
    quantiles, fill = statistics.quantiles[rule.name], _clipped_fill(rule)
    nulls = float(statistics.moments.nulls[statistics.place(rule.name)])
    return quantiles if fill is None else quantiles.with_value(fill, nulls)


@dataclass(frozen=True)
class _Spread:
    """Moments of one column once its missing values are filled."""

    count: float
    mean: float
    m2: float
    low: float
    high: float


def _spread(rule: NumberRule, statistics: Statistics, place: int) -> _Spread:
    """Add the fills to the moments: k fills f and n values of mean m have the mean (n·m + k·f) / (n + k), and so on."""
    moments = statistics.moments
    count, nulls, mean, m2, low, high = (
        float(array[place])
        for array in (moments.count, moments.nulls, moments.mean, moments.m2, moments.low, moments.high)
    )
    fill = _clipped_fill(rule)
    if fill is None or not nulls:
        return _Spread(count, mean, m2, low, high)
    total = count + nulls
    apart = fill - mean
    return _Spread(
        total, mean + apart * nulls / total, m2 + apart * apart * count * nulls / total, min(low, fill), max(high, fill)
    )


def _bin_spread(rule: NumberRule, statistics: Statistics) -> _Spread:
    """Spread of the numbers of bins, from the ranks of the edges."""
    quantiles = _filled(rule, statistics)
    ends = np.concatenate([[0.0], quantiles.below(rule.edges or ()), [quantiles.count]])
    return _weighted_spread(np.arange(len(ends) - 1.0), np.diff(ends))


def _weighted_spread(values: Any, weights: Any) -> _Spread:
    present = values[weights > 0]
    count = float(weights.sum())
    if not count:
        return _Spread(0.0, 0.0, 0.0, math.inf, -math.inf)
    mean = float(values @ weights) / count
    return _Spread(count, mean, float(((values - mean) ** 2) @ weights), float(present.min()), float(present.max()))


def _scale(rule: NumberRule, kind: str, statistics: Statistics) -> NumberRule:
    if kind == "none":
        return rule
    if kind == "robust":
        shift, scale = _robust(_bin_summary(rule, statistics) if rule.edges else _filled(rule, statistics))
    elif rule.edges:
        shift, scale = _SCALES[kind](_bin_spread(rule, statistics))
    else:
        shift, scale = _SCALES[kind](_spread(rule, statistics, statistics.place(rule.name)))
    return replace(rule, shift=shift, scale=scale)


def _bin_summary(rule: NumberRule, statistics: Statistics) -> Quantiles:
    quantiles = _filled(rule, statistics)
    ends = np.concatenate([[0.0], quantiles.below(rule.edges or ()), [quantiles.count]])
    return Quantiles(np.arange(len(ends) - 1.0), np.diff(ends))


def _standard(spread: _Spread) -> Scale:
    """Z = (x − μ) / σ with the population's σ; what is constant up to rounding keeps the scale 1."""
    if not spread.count:
        return NO_SCALE
    variance = spread.m2 / spread.count
    bound = spread.count * EPSILON * variance + (spread.count * spread.mean * EPSILON) ** 2
    return spread.mean, 1.0 if variance <= bound else math.sqrt(variance)


def _min_max(spread: _Spread) -> Scale:
    """Bring the range of the training rows to [0, 1]."""
    return (spread.low, _not_zero(spread.high - spread.low)) if spread.count else NO_SCALE


def _robust(quantiles: Quantiles) -> Scale:
    """Centre on the median, scale by the interquartile range."""
    if not quantiles.count:
        return NO_SCALE
    low, middle, high = (quantiles.quantile(share) for share in (0.25, 0.5, 0.75))
    return middle, _not_zero(high - low)


def _not_zero(scale: float) -> float:
    return 1.0 if scale < 10 * EPSILON else scale


_SCALES: Mapping[str, Callable[[_Spread], Scale]] = {"standard": _standard, "min_max": _min_max}


_MOST_UNSEEN = 0.5
"""Share of the rows above which the categories that are left out are worth a word."""


def _encode(feature: Feature, spec: Spec, statistics: Statistics, fills: _Fills, *, text: bool) -> CategoryRule:
    counts: dict[Any, int] = dict(statistics.counts[feature.name])
    missing = counts.pop("", 0) if text else int(statistics.moments.nulls[statistics.place(feature.name)])
    fill = _category_value(feature, spec, fills, counts, text=text)
    if missing:
        counts[fill] = counts.get(fill, 0) + missing
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0] is None, item[0] if item[0] is not None else 0))
    if not order:
        fills.notes.append(f"{feature.name} has no category")
    kept = order[: feature.max_categories]
    rest = sum(count for _, count in order[feature.max_categories :])
    if text and rest > _MOST_UNSEEN * statistics.rows:
        fills.notes.append(
            f"{feature.name}: its {len(kept)} most frequent of {len(order):,} values are in "
            f"{1 - rest / statistics.rows:.0%} of the rows, the others are not told apart; for a text of words, "
            f"tfidf reads more (transform.{feature.column})"
        )
    encoding = feature.encoding or "one_hot"
    rule = CategoryRule(feature.name, text, encoding, fill, tuple(category for category, _ in kept))
    if encoding == "one_hot":
        return rule
    return _code(rule, [count for _, count in kept], rest, statistics.rows, normalize_rule(spec, feature))


def _category_value(
    feature: Feature, spec: Spec, fills: _Fills, counts: Mapping[Any, int], *, text: bool
) -> str | float | None:
    rule = category_fill(spec, feature.column, text=text)
    if rule is None:
        return None
    if rule.fill == "mode":
        return _mode(counts) if counts else None
    if text:
        return str(rule.value) or None
    return finite(fills.number(feature.name, rule, feature.column))


def _code(rule: CategoryRule, counts: Sequence[int], rest: int, rows: int, kind: str) -> CategoryRule:
    """Assign each category its number, scaled like any other number of the training rows."""
    is_ordinal = rule.encoding == "ordinal"
    values = np.arange(len(counts), dtype=np.float64) if is_ordinal else np.array(counts, dtype=np.float64) / rows
    unseen = -1.0 if is_ordinal else 0.0
    every, weights = np.append(values, unseen), np.append(np.array(counts, dtype=np.float64), rest)
    shift, scale = _robust(_summary(every, weights)) if kind == "robust" else NO_SCALE
    if kind in _SCALES:
        shift, scale = _SCALES[kind](_weighted_spread(every, weights))
    scaled = tuple(((values - shift) / scale).tolist())
    return replace(rule, values=scaled, unseen=(unseen - shift) / scale)


def _summary(values: Any, weights: Any) -> Quantiles:
    order = np.argsort(values, kind="stable")
    return Quantiles(values[order], weights[order])
