"""Columns that alone give the target."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.model.task import Task
from pipeline.steps.evaluate.leaks import find_leaks

N = 1000
DRAW = np.random.default_rng(3)
NOISE = DRAW.normal(size=N)
CLASSES = np.sort(DRAW.integers(0, 3, N)).astype(np.float64)
NUMBERS = DRAW.gamma(2.0, 3.0, N)


def texts(values: object) -> pd.Series:
    return pd.Series(values, dtype="str")


@pytest.mark.parametrize(
    ("truth", "task", "column", "leaks"),
    [
        (CLASSES, "classification", pd.Series(np.arange(N, dtype=np.float64)), True),
        (CLASSES, "classification", texts([f"grade {each:.0f}" for each in CLASSES]), True),
        (CLASSES, "classification", pd.Series(CLASSES * 2 + 1), True),
        (CLASSES, "classification", pd.Series(CLASSES + NOISE), False),
        (CLASSES, "classification", texts([f"row {each}" for each in range(N)]), False),
        (CLASSES, "classification", pd.Series(NOISE), False),
        (CLASSES, "classification", texts(["all"] * N), False),
        (CLASSES == 9, "classification", pd.Series(NOISE), False),
        (NUMBERS, "regression", pd.Series(NUMBERS * 1.2 + 4), True),
        (NUMBERS, "regression", pd.Series(NUMBERS**2), True),
        (NUMBERS, "regression", pd.Series(np.where(NOISE > 2, np.nan, NUMBERS)), False),
        (NUMBERS, "regression", pd.Series(NUMBERS + NOISE / 2), False),
        (NUMBERS, "regression", pd.Series(np.full(N, np.nan)), False),
        (NUMBERS, "regression", texts([None] * N), False),
        (np.arange(N) * 1.0, "regression", pd.Series(pd.date_range("2013-01-01", periods=N, unit="us")), True),
        (NUMBERS, "regression", pd.Series(pd.date_range("2013-01-01", periods=N, unit="us")), False),
    ],
)
def test_a_column_that_alone_gives_the_target_is_told(
    truth: np.ndarray, task: Task, column: pd.Series, *, leaks: bool
) -> None:
    found = find_leaks(pd.DataFrame({"a column": column, "noise": NOISE}), np.asarray(truth, dtype=np.float64), task)
    assert [each.split(" alone")[0] for each in found] == (["'a column'"] if leaks else [])


def test_few_rows_and_unknown_targets_tell_nothing() -> None:
    rows = pd.DataFrame({"x": NUMBERS})
    assert find_leaks(rows[:39], NUMBERS[:39], "regression") == []
    unknown = np.where(np.arange(N) < 39, NUMBERS, np.nan)
    assert find_leaks(rows, unknown, "regression") == []
    assert find_leaks(rows, np.full(N, -1.0), "classification") == []


def test_the_message_says_what_to_do() -> None:
    (said,) = find_leaks(pd.DataFrame({"x": NUMBERS}), NUMBERS, "regression")
    assert said.startswith("'x' alone gives the target (r2 ")
    assert said.endswith("(features.drop)")
