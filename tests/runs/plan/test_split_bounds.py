"""A split by time whose bounds count back from the newest row."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.runs.plan.split_bounds import Times, clip, describe_bounds, fix
from pipeline.spec.schema.spec import Split


def times(oldest: str, newest: str) -> Times:
    return Times(datetime.fromisoformat(oldest), datetime.fromisoformat(newest))


def by_time(**keys: Any) -> Split:
    return Split.model_validate({"by": "time", "column": "at", **keys})


@pytest.mark.parametrize(
    ("keys", "newest", "test_from", "validation_from"),
    [
        ({"test": "2 months"}, "2013-12-31T23:50", "2013-11-01T00:00:00", None),
        (
            {"test": "2 months", "validation": "1 month"},
            "2013-12-31T23:50",
            "2013-11-01T00:00:00",
            "2013-10-01T00:00:00",
        ),
        ({"test": "1 month"}, "2013-03-31", "2013-03-01T00:00:00", None),
        ({"test": "1 month"}, "2013-03-30T08:00", "2013-02-28T00:00:00", None),
        ({"test": "1 week"}, "2013-12-31", "2013-12-25T00:00:00", None),
        ({"test": "1 day"}, "2013-12-31", "2013-12-31T00:00:00", None),
        ({"test": "6 hours"}, "2013-12-31T23:50", "2013-12-31T18:00:00", None),
        (
            {"test": "30 minutes", "validation": "1 hour"},
            "2013-12-31T23:50:10",
            "2013-12-31T23:21:00",
            "2013-12-31T22:21:00",
        ),
        ({"test": "20%"}, "2013-01-11", "2013-01-09T00:00:00", None),
        ({"test": 0.2, "validation": "10%"}, "2013-01-11", "2013-01-09T00:00:00", "2013-01-08T00:00:00"),
        (
            {"test_from": "2013-06-01", "validation": "1 month"},
            "2013-12-31",
            "2013-06-01T00:00:00",
            "2013-05-01T00:00:00",
        ),
    ],
)  # fmt: skip
def test_bounds_count_back_from_the_newest_row(
    keys: dict[str, str], newest: str, test_from: str, validation_from: str | None
) -> None:
    bounds = describe_bounds(fix(by_time(**keys), [None, times("2013-01-01", newest)]))
    assert bounds == {"test_from": test_from} | ({"validation_from": validation_from} if validation_from else {})


def test_the_line_is_that_of_all_partitions() -> None:
    parts = [times("2013-01-01", "2013-01-05"), times("2013-01-03", "2013-01-11")]
    assert describe_bounds(fix(by_time(test="50%"), parts)) == {"test_from": "2013-01-06T00:00:00"}


@pytest.mark.parametrize("keys", [{"test": "12 months"}, {"test": "99999 weeks"}, {"test": "99999 years"},
                                  {"test": "9 months", "validation": "4 months"}])  # fmt: skip
def test_a_span_that_leaves_nothing_to_train_is_refused_with_both_ends(keys: dict[str, str]) -> None:
    with pytest.raises(DataError, match=r"no later than the oldest row \(2013-01-01 00:00:00; the newest is of 2013"):
        fix(by_time(**keys), [times("2013-01-01", "2013-12-31T23:50")])


def test_a_column_without_times_is_refused() -> None:
    with pytest.raises(DataError, match=r"found no time in 'at' from which '2 months' could be counted back"):
        fix(by_time(test="2 months"), [None])


def test_fixed_bounds_need_no_times() -> None:
    split = by_time(test_from="2013-06-01")
    assert fix(split, [None]) is split


@pytest.mark.parametrize(
    ("oldest", "newest", "said"),
    [
        ("2013-01-01", "2013-01-31", "validation none, test none"),
        ("2013-10-01", "2013-10-31", "validation all, test none"),
        ("2013-10-15", "2013-11-15", "validation all, test from 2013-11-01T00:00:00"),
        ("2013-09-15", "2013-10-15", "validation from 2013-10-01T00:00:00, test none"),
        ("2013-11-01", "2013-11-02", "validation all, test all"),
        ("2013-12-01", "2013-12-31", "validation all, test all"),
    ],
)
def test_a_bound_beyond_a_partition_is_the_same_wherever_it_is(oldest: str, newest: str, said: str) -> None:
    split = by_time(test_from="2013-11-01", validation_from="2013-10-01")
    assert clip(split, times(oldest, newest)) == said


def test_a_partition_without_rows_has_no_bound_in_it() -> None:
    assert clip(by_time(test_from="2013-11-01"), None) == "validation none, test none"
