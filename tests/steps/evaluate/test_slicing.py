from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.steps.evaluate.slicing import slice_rows

MANY = [f"v{place:02}" for place in range(25)]
DAYS = pd.Series(pd.date_range("2013-01-01", periods=100, unit="us"))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(["b", "a", "b", None], dtype="str"), {"b": 2, "a": 1, "missing": 1}),
        (pd.Series([1.0, 0.0, 1.0, np.nan]), {"1": 2, "0": 1, "missing": 1}),
        (pd.Series([0.5, 2.25, 0.5]), {"0.5": 2, "2.25": 1}),
        (pd.Series(["other", "missing", None], dtype="str"), {"missing": 1, "other": 1, "(missing)": 1}),
        (pd.Series([*MANY, "v24"], dtype="str"), {"v24": 2, **dict.fromkeys(MANY[:19], 1), "other": 5}),
        (
            pd.Series(np.arange(100.0)),
            {"up to 19": 20, "over 19 to 39": 20, "over 39 to 59": 20, "over 59 to 79": 20, "over 79": 20},
        ),
        (
            DAYS,
            {
                "up to 2013-01-20 00:00:00": 20,
                "over 2013-01-20 00:00:00 to 2013-02-09 00:00:00": 20,
                "over 2013-02-09 00:00:00 to 2013-03-01 00:00:00": 20,
                "over 2013-03-01 00:00:00 to 2013-03-21 00:00:00": 20,
                "over 2013-03-21 00:00:00": 20,
            },
        ),
        (pd.Series([np.nan, np.nan]), {"missing": 2}),
        (pd.Series([], dtype="str"), {}),
        (pd.Series([0.0] * 90 + list(range(1, 31))), {"up to 0": 90, "over 0 to 6": 6, "over 6": 24}),
    ],
)
def test_rows_are_grouped_by_value(column, expected):
    groups = slice_rows(column)
    assert {name: len(rows) for name, rows in groups.items()} == expected
    assert sorted(np.concatenate(list(groups.values()) or [[]]).tolist()) == list(range(len(column)))
