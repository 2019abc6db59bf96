"""The DAG ``data_commits``: what new commits of the data set off.

An event of a data repository wakes it, and so does a tick every few minutes, for events can get lost. Either way it
finds out itself what is new, and starts a run of each model that reads what changed. The deciding is in
``pipeline.orchestration.data_commits``; here is only what needs Airflow. There is no such DAG while no spec watches
its data.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import (
    DAG,
    Asset,
    AssetAny,
    AssetOrTimeSchedule,
    AssetWatcher,
    BaseOperator,
    CronTriggerTimetable,
)
from airflow.sdk.exceptions import AirflowSkipException
from modelrail_tasks import start_run
from modelrail_trigger import DataCommitTrigger, git_login

from pipeline.errors import TransientError
from pipeline.orchestration.data_commits.sources import Source, Watched, find_watched

if TYPE_CHECKING:
    from airflow.sdk import Context

    from pipeline.orchestration.data_commits.dispatching import Mark, Requested, Started
    from pipeline.orchestration.data_commits.replaying import Replay

MODELS = Path(os.environ.get("MODELRAIL_MODELS") or Path(__file__).resolve().parents[1] / "models")
TICK = "*/5 * * * *"


class Dispatch(BaseOperator):
    """Start what the new commits of one data repository call for."""

    ui_color = "#e8f0fe"

    def __init__(self, *, source: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source = source

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Look at what is new; return what was started."""
        from pipeline.orchestration.data_commits.dispatching import dispatch

        source = Source(**self.source)
        watched = [each for each in find_watched(MODELS) if each.source == source]
        if not watched:
            raise AirflowSkipException(f"no spec watches {source} any more")
        try:
            credentials = partial(git_login, source.connection, source.address)
            reports = dispatch(watched, AirflowRuns(), credentials=credentials)
        except TransientError as error:
            raise AirflowSkipException(f"{source} cannot be reached; the next tick tries again: {error}") from error
        for report in reports:
            for line in report.lines:
                self.log.log(logging.WARNING if line in report.warnings else logging.INFO, line)
        return {report.model: report.figures() for report in reports}


class AirflowRuns:
    """Airflow, as dispatching needs it: through the API that tasks have, and for backfills its REST API."""

    def recall(self, model: str) -> Mark | None:
        """Return the mark that a variable keeps."""
        from airflow.sdk import Variable

        from pipeline.orchestration.data_commits.dispatching import Mark

        text = Variable.get(_variable(model), default=None)
        return Mark.from_json(json.loads(text)) if text else None

    def remember(self, model: str, mark: Mark) -> None:
        """Keep the mark in a variable."""
        from airflow.sdk import Variable

        description = "Up to which data commit the model was looked at; without it that is found out anew."
        Variable.set(_variable(model), json.dumps(mark.to_json()), description=description)

    def existing(self, model: str, run_ids: Sequence[str]) -> Collection[str]:
        """Tell which runs there are, by counting: all, or none, or each half."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        count = RuntimeTaskInstance.get_dr_count(dag_id=model, run_ids=list(run_ids)) if run_ids else 0
        if count in (0, len(run_ids)):
            return list(run_ids) if count else []
        half = len(run_ids) // 2
        return [*self.existing(model, run_ids[:half]), *self.existing(model, run_ids[half:])]

    def start(self, model: str, run_id: str, conf: Mapping[str, Any]) -> Started:
        """Start a run; Airflow refuses an identifier that it has."""
        return start_run(model, run_id, conf)

    def replay(self, model: str, replay: Replay) -> Requested:
        """Create a backfill, unless there is one for this commit."""
        from pipeline.operations.backfill import request_replay

        return request_replay(model, replay, _rest_login())


def _rest_login() -> tuple[str, str, str] | None:
    """Return address, user and password of Airflow's REST API, if an Airflow connection says."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        found = Connection.get("modelrail_airflow")
    except AirflowNotFoundException:
        return None
    return (str(found.host or "").rstrip("/"), found.login or "", found.password or "")


def _variable(model: str) -> str:
    return f"modelrail.data_commits.{model}"


def name_task(source: Source) -> str:
    """Name a source's task after its repository; a few digits tell those of the same name apart."""
    tail = re.sub(r"[^\w-]+", "-", source.address.rstrip("/").removesuffix(".git").rpartition("/")[2]) or "data"
    digits = hashlib.sha256(f"{source.address}\0{source.branch}".encode()).hexdigest()[:6]
    return f"dispatch-{tail}-{digits}"


def make_asset(source: Source) -> Asset:
    """Return the asset that stands for a branch, with its watcher."""
    task = name_task(source)
    watcher = AssetWatcher(name=task, trigger=DataCommitTrigger(**vars(source)))
    return Asset(
        name=task.replace("dispatch", "data", 1), uri=f"x-modelrail://{task}", group="data", watchers=[watcher]
    )


def describe(groups: Mapping[Source, Sequence[Watched]]) -> str:
    """Say which repositories are watched, for which models."""
    rows = [f"| `{source}` | {', '.join(each.model for each in models)} |" for source, models in groups.items()]
    return "\n".join(["# What new data commits set off", "", "| data | models |", "|---|---|", *rows])


def build_dag(watched: Sequence[Watched]) -> DAG:
    """Wire a task for each source."""
    ordered = sorted(watched, key=lambda each: each.source)
    groups = {source: list(models) for source, models in groupby(ordered, key=lambda each: each.source)}
    with DAG(
        dag_id="data_commits",
        description="Starts the models whose data have a new commit",
        doc_md=describe(groups),
        schedule=AssetOrTimeSchedule(
            timetable=CronTriggerTimetable(TICK, timezone="UTC"), assets=AssetAny(*map(make_asset, groups))
        ),
        catchup=False,
        max_active_runs=2,  # one that was killed must not hold up the next; two at once do no harm
        default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=10)},
        tags=["data"],
    ) as dag:
        for source in groups:
            Dispatch(task_id=name_task(source), source=vars(source))
    return dag


if found := find_watched(MODELS):
    data_commits = build_dag(found)
