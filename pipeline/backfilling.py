"""Scheduled dates run anew, by Airflow's own backfill."""

from __future__ import annotations

from typing import Any

from pipeline.data_commits.dispatching import Requested
from pipeline.data_commits.replaying import Replay
from pipeline.errors import InputError, ModelrailError
from pipeline.home import home
from pipeline.standalone.client import Airflow
from pipeline.standalone.services import running

Login = tuple[str, str, str]
"""Address of Airflow's REST API, user, password."""


def find_login() -> Login | None:
    """Give the login of the Airflow that was started on this machine, if it runs."""
    services = running(home())
    return (services.airflow_url, services.login.user, services.login.password) if services else None


def request_replay(model: str, replay: Replay, login: Login | None = None) -> Requested:
    """Ask Airflow for a backfill of these dates at this commit, unless it was asked before.

    Parameters
    ----------
    login : tuple of str, optional
        By default that of the Airflow on this machine.
    """
    found = login or find_login()
    if found is None:
        return "unreachable"
    with Airflow(*found) as airflow:
        try:
            return _request(airflow, model, replay)
        except InputError:
            raise
        except ModelrailError:
            return "unreachable"


def _request(airflow: Airflow, model: str, replay: Replay) -> Requested:
    known = airflow.list_backfills(model)
    if any(_is_same(each, replay) for each in known):
        return "exists"
    if any(each["completed_at"] is None for each in known):
        return "busy"
    reason = f"data commit {replay.commit[:10]} changed old partitions"
    airflow.create_backfill(model, replay.first, replay.last, {"data_commit": replay.commit, "reason": reason})
    return "created"


def _is_same(backfill: dict[str, Any], replay: Replay) -> bool:
    conf = backfill["dag_run_conf"] or {}
    return conf.get("data_commit") == replay.commit and str(conf.get("reason", "")).startswith("data commit ")
