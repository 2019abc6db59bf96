"""Cron expressions, against a table and against croniter, which Airflow reads them with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.spec.cron import cron_problem, ticks

RIGHT = [
    "0 3 1 * *",
    "*/5 * * * *",
    "0 0 * * 7",
    "1,2,5-9/2 0-23 1-31 jan-mar MON-FRI",
    "@daily",
    "0 0 29 2 *",
    "5/15 * * * *",
    "0 0 31 2 1",
]
WRONG = [
    "",
    "* * * *",
    "* * * * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 8",
    "5-1 * * * *",
    "*/0 * * * *",
    "a * * * *",
    "1,,2 * * * *",
    "@dayly",
    "0 0 30 feb *",
    "-1 * * * *",
    "*-5 * * * *",
]


@pytest.mark.parametrize("text", RIGHT)
def test_cron_accepts(text: str) -> None:
    assert cron_problem(text) is None


@pytest.mark.parametrize("text", WRONG)
def test_cron_refuses(text: str) -> None:
    assert cron_problem(text) is not None


_FIELD = st.from_regex(r"(\*|[0-9]{1,2})(-[0-9]{1,2})?(/[0-9]{1,2})?", fullmatch=True)


@settings(max_examples=300, deadline=None)
@given(st.lists(_FIELD, min_size=5, max_size=5))
def test_cron_accepts_nothing_that_airflow_refuses(fields: list[str]) -> None:
    croniter = pytest.importorskip("croniter")
    text = " ".join(fields)
    if cron_problem(text) is None:
        assert croniter.croniter.is_valid(text)


@pytest.mark.parametrize("text", [*RIGHT, "30 4 1,15 * 5", "0 12 * 2 0", "0 0 */10 * *", "0 3 1 * *"])
def test_ticks_are_those_of_airflow(text: str) -> None:
    croniter = pytest.importorskip("croniter").croniter
    first, last = datetime(2023, 12, 30, tzinfo=UTC), datetime(2024, 3, 5, 7, 30, tzinfo=UTC)
    each = croniter(text, first - timedelta(seconds=1))
    expected = list(takewhile(lambda at: at <= last, (each.get_next(datetime) for _ in range(200_000))))
    assert list(ticks(text, first.date(), last)) == expected
