"""Checks of ``schedule``: when the DAG runs, and what a new data commit sets off."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.spec.checking.view import View
from pipeline.spec.cron import cron_problem
from pipeline.spec.findings import Finding

_WITH_PASSWORD = re.compile(r"[a-z+]+://[^/@]*:[^/@]*@|https?://[^/@]+@")


def check_schedule(view: View) -> Iterator[Finding]:
    """Check when the DAG runs."""
    schedule, data = view.spec.schedule, view.spec.data
    problem = None if schedule.cron is None else cron_problem(schedule.cron)
    if problem:
        yield Finding(("schedule", "cron"), *problem)
    if schedule.on_data_commit != "off" and data.files is None:
        expected = "data with commits (data.files), or 'off': the built-in example never changes"
        yield Finding(("schedule", "on_data_commit"), f"'{schedule.on_data_commit}'", expected)
    if schedule.on_data_commit != "off" and _WITH_PASSWORD.match(data.repository or ""):
        expected = "the address alone: an Airflow connection (data.connection) has the credentials"
        yield Finding(("data", "repository"), "credentials in an address that is watched", expected)
    if schedule.replay:
        yield from _check_replay(view)


def _check_replay(view: View) -> Iterator[Finding]:
    schedule = view.spec.schedule
    if schedule.cron is None:
        yield Finding(("schedule", "replay"), "true without dates to replay", "schedule.cron as well, or false")
    if schedule.on_data_commit == "off":
        expected = "schedule.on_data_commit: every or latest, or false"
        yield Finding(("schedule", "replay"), "true where no data commit starts anything", expected)
