"""The metrics of replayed dates, lined up in one MLflow run for each data commit and spec."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.runs.tracking.events import LookedBack

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from pipeline.steps.evaluate.walk_forward import Point

TAG = "modelrail.walk_forward"
_SPEC = f"{TAG}_spec"
_BOUNDS = ("low", "high")


def record_point(client: MlflowClient, experiment: str, event: LookedBack) -> str:
    """Add a date's metrics to the run of its data commit and spec, and draw the plot anew; return the run's id.

    The step of each metric is the as-of date as a number (20131101), its time stamp that date.
    """
    from mlflow.entities import Metric

    run = _find(client, experiment, event) or _create(client, experiment, event)
    day = date.fromisoformat(event.as_of)
    moment = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    step = int(day.strftime("%Y%m%d"))
    client.log_batch(run, metrics=[Metric(name, value, moment, step) for name, value in event.metrics.items()])
    _draw(client, run, event)
    client.set_terminated(run, "FINISHED")
    if event.run:
        client.set_tag(event.run, f"{TAG}_run", run)
    return run


def _find(client: MlflowClient, experiment: str, event: LookedBack) -> str | None:
    asked = f"tags.`{TAG}` = '{event.data_commit}' and tags.`{_SPEC}` = '{event.spec}'"
    found = client.search_runs([experiment], asked, max_results=1, order_by=["attributes.start_time ASC"])
    return str(found[0].info.run_id) if found else None


def _create(client: MlflowClient, experiment: str, event: LookedBack) -> str:
    commits = {"modelrail.data_commit": event.data_commit, "modelrail.spec_commit": event.spec_commit}
    tags = {TAG: event.data_commit, _SPEC: event.spec, **commits}
    name = f"walk-forward {event.data_commit[:10]} {event.spec_commit[:10]}".rstrip()
    return str(client.create_run(experiment, run_name=name, tags=tags).info.run_id)


def _draw(client: MlflowClient, run: str, event: LookedBack) -> None:
    from pipeline.steps.evaluate.walk_forward import draw_walk_forward

    names = [name for name in event.metrics if not name.endswith(tuple(f".{bound}" for bound in _BOUNDS))]
    curves = {name: read_curve(client, run, name) for name in names}
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "walk_forward.png"
        picture.write_bytes(draw_walk_forward(event.model, event.data_commit, curves, event.spec_commit))
        client.log_artifact(run, str(picture))


def read_curve(client: MlflowClient, run: str, name: str) -> list[Point]:
    """Read a metric's points by date; the newer one of a date that was replayed twice."""
    from pipeline.steps.evaluate.walk_forward import Point

    values = {each: _by_step(client, run, each) for each in (name, *(f"{name}.{bound}" for bound in _BOUNDS))}
    return [
        Point(
            datetime.strptime(str(step), "%Y%m%d").replace(tzinfo=UTC).date(),
            value,
            *(values[f"{name}.{bound}"].get(step) for bound in _BOUNDS),
        )
        for step, value in sorted(values[name].items())
    ]


def _by_step(client: MlflowClient, run: str, name: str) -> Mapping[int, float]:
    return {each.step: each.value for each in client.get_metric_history(run, name)}
