"""What a release was worth on rows that came after it, as one MLflow run a release, with a point a data commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.runs.tracking.events import UnseenEvaluated

if TYPE_CHECKING:
    from mlflow import MlflowClient

TAG = "modelrail.prequential"
TESTED = ".tested"


def record_point(client: MlflowClient, experiment: str, event: UnseenEvaluated) -> str:
    """Add a data commit's metrics to the run of a release; return the run's id.

    The time stamp of each metric is that of the data commit, its step the same in seconds. What the release reached on
    its test rows stands beside it as ``NAME.tested``, so that both are lines of one plot.
    """
    from mlflow.entities import Metric

    run = _find(client, experiment, event) or _create(client, experiment, event)
    values: Mapping[str, float] = {**event.metrics, **{f"{name}{TESTED}": each for name, each in event.tested.items()}}
    step = int(event.at_s)
    client.log_batch(run, metrics=[Metric(name, value, step * 1000, step) for name, value in values.items()])
    client.set_tag(run, "modelrail.data_commit", event.data_commit)
    client.set_terminated(run, "FINISHED")
    return run


def _find(client: MlflowClient, experiment: str, event: UnseenEvaluated) -> str | None:
    found = client.search_runs([experiment], f"tags.`{TAG}` = '{event.release}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _create(client: MlflowClient, experiment: str, event: UnseenEvaluated) -> str:
    run = client.create_run(experiment, run_name=f"prequential {event.release}", tags={TAG: event.release})
    return str(run.info.run_id)
