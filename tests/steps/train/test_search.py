from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.spec.schema.spec import Interval, Search
from pipeline.steps.train.results import Fitted, Scorer
from pipeline.steps.train.search import draw_params, look_for_best, order_rows, rows_by_round, tell_best, try_some
from pipeline.steps.train.targets import Rows


def search(space: Mapping[str, Any], trials: int = 8, **keys: Any) -> Search:
    return Search(space=dict(space), trials=trials, **keys)


def test_draws_repeat_with_the_seed_and_stay_in_the_space() -> None:
    space = {
        "a": [1, None, "x"],
        "b": Interval(low=1e-4, high=1.0, log=True),
        "c": Interval(low=2, high=5, integer=True),
        "d": Interval(low=1, high=1000, log=True, integer=True),
        "e": Interval(low=-1, high=1),
    }
    drawn = list(draw_params(search(space, 200), seed=3))
    assert drawn == list(draw_params(search(space, 200), seed=3))
    assert drawn != list(draw_params(search(space, 200), seed=4))
    assert {each["a"] for each in drawn} == {1, None, "x"}
    assert all(1e-4 <= each["b"] <= 1 and -1 <= each["e"] <= 1 and 1 <= each["d"] <= 1000 for each in drawn)
    assert {each["c"] for each in drawn} == {2, 3, 4, 5}
    assert 0.3 < np.mean([each["b"] < 0.01 for each in drawn]) < 0.7


def test_no_parameter_set_is_tried_twice() -> None:
    drawn = list(draw_params(search({"a": [1, 2, 3]}, 10), seed=0))
    assert sorted(each["a"] for each in drawn) == [1, 2, 3]


ROUNDS = [(1, 1000, [1000]), (2, 1000, [500, 1000]), (8, 8000, [1000, 2000, 4000, 8000]), (8, 50, [50] * 4)]
ROUNDS += [(5, 1600, [200, 400, 800, 1600]), (8, 400, [100, 100, 200, 400])]


@pytest.mark.parametrize(("trials", "rows", "expected"), ROUNDS)
def test_halving_doubles_the_rows_of_each_round(trials, rows, expected) -> None:
    assert rows_by_round(trials, rows) == expected


def test_any_start_of_the_order_has_every_class() -> None:
    target = np.array([0] * 97 + [1, 1, 2])
    order = order_rows(target, 3, seed=0)
    assert sorted(order) == list(range(100))
    assert set(target[order[:5]]) == {0, 1, 2}


def fit_constant(params: Mapping[str, Any], rows: Rows) -> Fitted:
    if params["value"] == 13:
        raise TrainingError("unlucky")
    return Fitted(None, lambda features: np.full(len(features), float(params["value"]) + 1 / len(rows)))


ROWS = Rows(np.zeros((800, 1), np.float32), np.full(800, 7.0))


def mean_absolute_error(truth: Any, predicted: Any) -> float:
    return float(np.abs(truth - predicted).mean())


@pytest.mark.parametrize("method", ["random", "halving"])
def test_the_best_score_wins(method) -> None:
    space = {"value": [1, 5, 6, 7, 8, 9, 13, 20]}
    rule = search(space, 50, method=method)
    scorer = Scorer("mae", mean_absolute_error)
    best, trials = look_for_best(rule, fit_constant, ROWS, ROWS, scorer, classes=0, seed=0)
    assert best.params == {"value": 7}
    assert best.rows == 800
    assert [each.error for each in trials if each.score is None] == ["unlucky"]
    said = "best of 8 trials, 1 of which could not be fitted: value 7 (mae 0.0012 on the validation rows)"
    assert tell_best(best, trials, "mae") == said
    counts = [sum(each.round == number for each in trials) for number in range(4)]
    assert counts == ([8, 0, 0, 0] if method == "random" else [8, 4, 2, 1])


def test_greater_is_better_where_the_metric_says_so() -> None:
    scorer = Scorer("r2", lambda _, predicted: float(predicted[0]))
    best, _ = look_for_best(search({"value": [1, 9, 5]}), fit_constant, ROWS, ROWS, scorer, classes=0, seed=0)
    assert best.params == {"value": 9}


def test_a_search_without_any_score_says_why() -> None:
    scorer = Scorer("mae", mean_absolute_error)
    with pytest.raises(TrainingError) as caught:
        look_for_best(search({"value": [13]}), fit_constant, ROWS, ROWS, scorer, classes=0, seed=0)
    assert str(caught.value) == (
        "model.search: none of 1 trials gave a score (the first: unlucky); expected at least one (model.search.space)"
    )


@pytest.mark.parametrize("method", ["random", "halving"])
def test_trials_that_others_fit_give_the_same_best_and_keep_their_models(method) -> None:
    rule = search({"value": [1, 5, 6, 7, 8, 9, 13, 20]}, 50, method=method)
    scorer = Scorer("mae", mean_absolute_error)
    asked: list[int] = []

    def elsewhere(rows: int, numbers: Any) -> Any:
        asked.append(rows)
        known: Any = {"classes": 0, "seed": 0, "rows": rows}
        return {
            place: outcome
            for each in numbers  # one at a time, as by many workers
            for place, outcome in try_some(rule, fit_constant, ROWS, ROWS, scorer, numbers=[each], **known).items()
        }

    alone = look_for_best(rule, fit_constant, ROWS, ROWS, scorer, classes=0, seed=0)
    spread = look_for_best(rule, fit_constant, ROWS, ROWS, scorer, classes=0, seed=0, elsewhere=elsewhere)
    assert asked == ([100, 200, 400, 800] if method == "halving" else [800])
    assert [each.to_json() for each in spread[1]] == [each.to_json() for each in alone[1]]
    assert spread[0].to_json() == alone[0].to_json()
    assert spread[0].fitted is None
