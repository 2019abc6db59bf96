"""Cron expressions, against a table and against croniter, which Airflow reads them with."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.spec.cron import cron_problem

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
