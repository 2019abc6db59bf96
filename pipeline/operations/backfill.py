"""Scheduled dates run anew, by Airflow's own backfill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, ModelrailError
from pipeline.home import home
from pipeline.orchestration.data_commits.dispatching import Requested
from pipeline.orchestration.data_commits.replaying import Replay
from pipeline.orchestration.services.rest_client import Airflow
from pipeline.orchestration.services.services import running
from pipeline.runs.job import BUILT_IN, WORK_TREE, Job, open_job
from pipeline.runs.request import RunRequest
from pipeline.storage.git.repository import File
from pipeline.storage.periods import up_to

Login = tuple[str, str, str]
"""Address of Airflow's REST API, user, password."""


def find_login(state: Path | None = None) -> Login | None:
    """Find the login of the Airflow that was started on this machine, if it runs.

    Parameters
    ----------
    state : Path, optional
        Folder of all local state of the project; by default that of the current folder.
    """
    services = running(state or home())
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
    conf = {"data_commit": replay.commit, "reason": reason}
    conf |= {"spec_commit": replay.spec_commit} if replay.spec_commit else {}
    airflow.create_backfill(model, replay.first, replay.last, conf)
    return "created"


def _is_same(backfill: dict[str, Any], replay: Replay) -> bool:
    conf = backfill["dag_run_conf"] or {}
    return conf.get("data_commit") == replay.commit and str(conf.get("reason", "")).startswith("data commit ")


@dataclass(frozen=True)
class Backfill:
    """Scheduled dates that were, or would be, run anew.

    Attributes
    ----------
    dates : tuple of (datetime, int)
        Each with the number of partitions that it sees.
    commit, spec_commit : str
        The commits whose data and spec all of them run, whatever is committed meanwhile.
    empty : tuple of datetime
        Dates before the first partition has ended: they are left out, since nothing could be trained as of them.
    id : int or None
        Airflow's number of the backfill; None for a dry run.
    """

    model: str
    commit: str
    spec_commit: str
    dates: tuple[tuple[datetime, int], ...]
    id: int | None
    page: str
    empty: tuple[datetime, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        dates = [{"date": at.isoformat(), "partitions": count} for at, count in self.dates]
        commits = {"data_commit": self.commit, "spec_commit": self.spec_commit}
        told = {"model": self.model, **commits, "backfill": self.id, "dates": dates, "page": self.page}
        return {**told, "empty": [at.isoformat() for at in self.empty]}


def backfill(spec: Path, first: str, last: str, commit: str | None, *, dry_run: bool) -> Backfill:
    """Run a model's scheduled dates anew at one data commit and one spec commit, by Airflow's own backfill.

    Raises
    ------
    InputError
        If the dates are none, the model has no cron, no date falls between them, another backfill goes on, or the spec
        is not committed.
    """
    job = open_job(RunRequest(str(spec), data_commit=commit or None))
    if job.spec.schedule.cron is None:
        raise InputError(f"{spec}: schedule.cron: found none; expected one, since its dates are what is run")
    if job.data_commit in (WORK_TREE, BUILT_IN):
        raise InputError(f"{spec}: found data that are not committed; expected a data commit (--commit HEAD)")
    if job.uncommitted:
        raise InputError(
            f"{spec}: found changes of {', '.join(job.uncommitted[:5])} that are not committed; expected none, since "
            "every date runs the spec of one commit: commit them first"
        )
    span = _moment("--from", first, time.min), _moment("--to", last, time.max)
    if (login := find_login(job.state)) is None:
        raise InputError(
            f"backfill: found no Airflow running for {job.repository.root}; expected one: modelrail up --detach, there"
        )
    with Airflow(*login) as airflow:
        dates = sorted(airflow.preview_backfill(job.model, *span))
        if not dates:
            raise InputError(f"backfill: found no scheduled date from {first} to {last}; expected at least one")
        seen, empty = split_dates(dates, job.partitions)
        if not seen:
            raise InputError(
                f"backfill: found no partition that had ended by {last}; expected a later date, since nothing could be"
                " trained as of that"
            )
        made = None if dry_run else _create(airflow, job, max(span[0], seen[0][0]), span[1])
    page = f"{login[0]}/dags/{job.model}/backfills"
    return Backfill(job.model, job.data_commit, job.spec_commit, seen, made, page, empty)


def split_dates(
    dates: Iterable[datetime], partitions: Mapping[str, File]
) -> tuple[tuple[tuple[datetime, int], ...], tuple[datetime, ...]]:
    """Return the dates that see partitions, each with their number; and those before any had ended, which must fail."""
    counted = [(each, len(up_to(partitions, each.date().isoformat()))) for each in dates]
    return tuple(each for each in counted if each[1]), tuple(at for at, count in counted if not count)


def _create(airflow: Airflow, job: Job, first: datetime, last: datetime) -> int:
    reason = f"backfill at {job.data_commit[:10]}"
    conf = {"data_commit": job.data_commit, "spec_commit": job.spec_commit, "reason": reason}
    return int(airflow.create_backfill(job.model, first, last, conf)["id"])


def _moment(option: str, text: str, of_day: time) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), of_day, UTC)
    except ValueError as error:
        raise InputError(f"{option}: found '{text}'; expected a date such as 2013-12-31") from error
