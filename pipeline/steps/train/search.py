"""Looking for better parameters: which sets are tried, on how many rows, and which is best."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from pipeline.errors import TrainingError
from pipeline.spec.catalogue.metrics import METRICS
from pipeline.spec.schema.spec import Interval, Search
from pipeline.steps.train.results import Array, Fitted, Scorer
from pipeline.steps.train.targets import Rows

Fit: TypeAlias = Callable[[Mapping[str, Any], Rows], Fitted]
Outcome: TypeAlias = tuple[float | None, str | None]
"""The score of a trial, or why there is none."""
Elsewhere: TypeAlias = Callable[[int, Sequence[int]], Mapping[int, Outcome]]
"""Number of training rows, numbers of parameter sets → each one's outcome."""

MIN_ROWS = 100
_DRAWS_A_TRIAL = 100


@dataclass(frozen=True)
class Trial:
    """One fit of a search.

    Attributes
    ----------
    number : int
        Which of the parameter sets, from 0.
    round : int
        Round of successive halving; 0 in a random search.
    rows : int
        Training rows used.
    score : float or None
        The metric on the validation rows, None if the fit failed.
    """

    number: int
    round: int
    rows: int
    params: Mapping[str, Any]
    score: float | None
    fitted: Fitted | None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is recorded."""
        return {
            "trial": self.number,
            "round": self.round,
            "rows": self.rows,
            "params": dict(self.params),
            "score": self.score,
            "error": self.error,
        }


def draw_params(search: Search, seed: int) -> Iterator[dict[str, Any]]:
    """Draw the parameter sets to try, each different; fewer than `search.trials` where the space holds no more."""
    generator = np.random.default_rng(seed)
    seen: list[dict[str, Any]] = []
    for _ in range(search.trials * _DRAWS_A_TRIAL):
        drawn = {name: _draw(choices, generator) for name, choices in search.space.items()}
        if drawn not in seen:
            seen.append(drawn)
            yield drawn
        if len(seen) == search.trials:
            return


def _draw(choices: list[Any] | Interval, generator: np.random.Generator) -> Any:
    if isinstance(choices, list):
        return choices[int(generator.integers(len(choices)))]
    if choices.integer and not choices.log:
        return int(generator.integers(math.ceil(choices.low), math.floor(choices.high) + 1))
    ends = (math.log(choices.low), math.log(choices.high)) if choices.log else (choices.low, choices.high)
    value = float(generator.uniform(*ends))
    value = min(max(math.exp(value) if choices.log else value, choices.low), choices.high)
    return round(value) if choices.integer else value


def rows_by_round(trials: int, rows: int) -> list[int]:
    """Return the training rows of each round of successive halving: doubled each time, all of them in the last."""
    rounds = max(1, math.ceil(math.log2(trials)) + 1) if trials > 1 else 1
    least = min(MIN_ROWS, rows)
    return [max(least, rows >> (rounds - 1 - each)) for each in range(rounds - 1)] + [rows]


def order_rows(target: Array, classes: int, seed: int) -> Array:
    """Shuffle row positions, with some rows of every class in front, so that any start of it can be learnt from."""
    order = np.random.default_rng(seed).permutation(len(target))
    front = [order[target[order] == each][:2] for each in range(classes)]
    chosen = np.concatenate(front) if front else order[:0]
    return np.concatenate([chosen, order[~np.isin(order, chosen)]])


def look_for_best(
    search: Search,
    fit: Fit,
    train: Rows,
    validation: Rows,
    scorer: Scorer,
    *,
    classes: int,
    seed: int,
    elsewhere: Elsewhere | None = None,
) -> tuple[Trial, tuple[Trial, ...]]:
    """Run a search.

    Parameters
    ----------
    fit : callable
        ``fit(drawn parameters, rows)``.
    classes : int
        Number of classes, 0 in regression.
    elsewhere : callable, optional
        Fits the trials instead of `fit`, and keeps the models for itself.

    Returns
    -------
    tuple
        The best trial, on all training rows (fitted, unless elsewhere), and every trial in the order of its fit.
    """
    params = list(enumerate(draw_params(search, seed)))
    sizes = rows_by_round(len(params), len(train)) if search.method == "halving" else [len(train)]
    done: list[Trial] = []
    for number, size in enumerate(sizes):
        if elsewhere is None:
            rows = _some(train, size, classes, seed)
            attempts = [_attempt(fit, drawn, rows, validation, scorer) for _, drawn in params]
        else:
            found = elsewhere(size, [place for place, _ in params])
            attempts = [(found[place][0], None, found[place][1]) for place, _ in params]
        pairs = zip(params, attempts, strict=True)
        tried = [Trial(place, number, size, drawn, *attempt) for (place, drawn), attempt in pairs]
        done += tried
        ranked = _rank(tried, scorer.metric)
        kept = {each.number for each in ranked[: math.ceil(len(ranked) / 2)]}
        params = [each for each in params if each[0] in kept]
    return ranked[0], tuple(done)


def try_some(
    search: Search,
    fit: Fit,
    train: Rows,
    validation: Rows,
    scorer: Scorer,
    *,
    classes: int,
    seed: int,
    rows: int,
    numbers: Collection[int],
) -> dict[int, Outcome]:
    """Fit a few of a search's parameter sets for somebody who looks for the best of all.

    Parameters
    ----------
    rows : int
        How many training rows each is fitted on.
    numbers : collection of int
        Of the parameter sets, in the order in which they are drawn.
    """
    some = _some(train, rows, classes, seed)
    drawn = [(place, params) for place, params in enumerate(draw_params(search, seed)) if place in numbers]
    attempts = {place: _attempt(fit, params, some, validation, scorer) for place, params in drawn}
    return {place: (found, error) for place, (found, _, error) in attempts.items()}


def _some(train: Rows, size: int, classes: int, seed: int) -> Rows:
    """Take the training rows of a round."""
    return train if size == len(train) else train.take(np.sort(order_rows(train.target, classes, seed)[:size]))


def _attempt(
    fit: Fit, params: Mapping[str, Any], rows: Rows, validation: Rows, scorer: Scorer
) -> tuple[float | None, Fitted | None, str | None]:
    try:
        fitted = fit(params, rows)
    except TrainingError as error:
        return None, None, str(error)
    return score(fitted, validation, scorer), fitted, None


def score(fitted: Fitted, rows: Rows, scorer: Scorer) -> float:
    """Score a fitted model on rows, in the metric's own sign."""
    predicted = fitted.predict(rows.features)
    if METRICS[scorer.metric].reads == "label":
        predicted = predicted.argmax(axis=1)
    return float(scorer.measure(rows.target, predicted))


def tell_best(best: Trial, trials: Sequence[Trial], metric: str) -> str:
    """Say in words which parameters a search has chosen, among how many."""
    chosen = ", ".join(f"{name} {_short(value)}" for name, value in best.params.items())
    numbers, failed = {each.number for each in trials}, {each.number for each in trials if each.score is None}
    lost = f", {len(failed)} of which could not be fitted" if failed else ""
    return f"best of {len(numbers)} trials{lost}: {chosen} ({metric} {best.score:.4f} on the validation rows)"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _rank(trials: list[Trial], metric: str) -> list[Trial]:
    """Sort from best to worst; earlier trials first among equals."""
    sign = -1 if METRICS[metric].greater_is_better else 1
    scored = [(sign * each.score, each.number, each) for each in trials if each.score is not None]
    usable = [each for each in scored if math.isfinite(each[0])]
    if not usable:
        first = trials[0].error or "not a number"
        raise TrainingError(
            f"model.search: none of {len(trials)} trials gave a score (the first: {first}); "
            "expected at least one (model.search.space)"
        )
    return [each for *_, each in sorted(usable, key=lambda item: item[:2])]
