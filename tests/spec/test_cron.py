"""Cron expressions, against a table, against croniter, and against Airflow's own timetables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path

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
    "9-9 * * * *",
    "0 0 * * fri-5",
    "0 22-2 * * *",
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


_PARTS = (
    ("0", "30", "*/20", "5,10", "7-12/3", "9-9"),
    ("3", "*/6", "2-5", "22-2"),
    ("*", "1", "31", "*/2", "*/10", "1-31", "15,31"),
    ("*", "2", "*/3", "feb-apr"),
    ("*", "1", "*/2", "0-7", "mon-fri", "5/2"),
)
_LONGEST = max(map(len, _PARTS))
TABLE = [
    " ".join(parts[(turn * (place + 1) + shift) % len(parts)] for place, parts in enumerate(_PARTS))
    for turn in range(60)
    for shift in range(_LONGEST)
]
"""Combinations of fields: steps in days, both kinds of day, names, ranges of one value, ranges past the end."""
_ASK_AIRFLOW = """
import json, sys
import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable
start = pendulum.datetime(2023, 12, 30, tz="UTC")
def dates(kind, text):
    timetable, last = kind(text, timezone="UTC"), None
    timetable.validate()
    for _ in range(6):
        run = timetable.next_dagrun_info(
            last_automated_data_interval=last, restriction=TimeRestriction(start, None, catchup=True)
        )
        last = run.data_interval
        yield (run.logical_date if kind is CronTriggerTimetable else last.start).isoformat()
texts = json.load(sys.stdin)
kinds = CronTriggerTimetable, CronDataIntervalTimetable
print(json.dumps([[list(dates(kind, text)) for kind in kinds] for text in texts]))
"""


def test_ticks_are_those_of_airflows_timetables(tmp_path: Path) -> None:
    pytest.importorskip("airflow")
    right = [*RIGHT, "@quarterly", *sorted({text for text in TABLE if cron_problem(text) is None})]
    assert len(right) > 100
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_AIRFLOW],
        input=json.dumps(right),
        capture_output=True,
        text=True,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__UNIT_TEST_MODE": "False"},
        check=True,
    )
    for text, (triggers, intervals) in zip(right, json.loads(asked.stdout.splitlines()[-1]), strict=True):
        own = islice(ticks(text, date(2023, 12, 30), datetime(2100, 1, 1, tzinfo=UTC)), 6)
        assert [each.isoformat() for each in own] == triggers == intervals, text


@settings(max_examples=300, deadline=None)
@given(st.lists(_FIELD, min_size=5, max_size=5))
def test_what_is_said_never_to_come_never_comes_in_airflow(fields: list[str]) -> None:
    croniter = pytest.importorskip("croniter")
    text = " ".join(fields)
    problem = cron_problem(text)
    if problem is None:
        assert croniter.croniter(text, datetime(2024, 1, 1, tzinfo=UTC)).get_next(datetime)
    elif "never comes" in problem[0]:
        with pytest.raises(croniter.CroniterBadDateError):
            croniter.croniter(text, datetime(2024, 1, 1, tzinfo=UTC)).get_next(datetime)


@pytest.mark.parametrize("text", [*RIGHT, "30 4 1,15 * 5", "0 12 * 2 0", "0 0 */10 * *", "0 3 1 * *"])
def test_ticks_are_those_of_airflow(text: str) -> None:
    croniter = pytest.importorskip("croniter").croniter
    first, last = datetime(2023, 12, 30, tzinfo=UTC), datetime(2024, 3, 5, 7, 30, tzinfo=UTC)
    each = croniter(text, first - timedelta(seconds=1))
    expected = list(takewhile(lambda at: at <= last, (each.get_next(datetime) for _ in range(200_000))))
    assert list(ticks(text, first.date(), last)) == expected


def test_loading_a_spec_imports_no_library_for_it() -> None:
    use = "from pipeline.spec.cron import cron_problem; cron_problem('0 3 1 * *')"
    code = f"import sys; {use}; print('croniter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
