"""Events, as calls of MLflow."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelrailError
from pipeline.runs.tracking.events import (
    Event,
    Learning,
    LookedBack,
    Released,
    RunClosed,
    RunOpened,
    StepDone,
    UnseenEvaluated,
)
from pipeline.runs.tracking.faults import explain

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

_MAX_PARAM_CHARS = 5_000


class Tracker:
    """Turns each event into calls of MLflow."""

    def __init__(self, tracking: str, artifacts: Path, run: str | None) -> None:
        self.run = run
        self.experiment = ""
        self._tracking = tracking
        self._artifacts = artifacts
        self._open_client: MlflowClient | None = None
        self._at_work: dict[str, str] = {}
        self._shown: dict[str, int] = {}

    def record(self, event: Event) -> str:
        """Record an event; return the id of the run that it went to."""
        handlers: Mapping[type, Any] = {
            RunOpened: self._open,
            Learning: self._learn,
            StepDone: self._step,
            Released: self._register,
            LookedBack: self._look_back,
            UnseenEvaluated: self._evaluate_unseen,
            RunClosed: self._close,
        }
        try:
            return str(handlers[type(event)](event))
        except ModelrailError:
            raise
        except Exception as error:  # MLflow passes on whatever its database or server raised
            raise explain(error, self._tracking) from error

    @property
    def _client(self) -> MlflowClient:
        if self._open_client is None:
            self._open_client = open_client(self._tracking)
        return self._open_client

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        local = self._tracking.startswith("sqlite:")
        location = self._artifacts.resolve().as_uri() if local else None
        try:
            tags = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow shows the page for prompts
            return str(self._client.create_experiment(name, artifact_location=location, tags=tags))
        except MlflowException:  # another run created it at the same time
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _open(self, event: RunOpened) -> str:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        self.experiment = self._experiment(event.model)
        run = self._client.create_run(self.experiment, run_name=event.name, tags=dict(event.tags))
        self.run = str(run.info.run_id)
        dataset = Dataset(
            event.dataset["name"], event.dataset["digest"][:36], "git", json.dumps({"uri": event.dataset["source"]})
        )
        self._log_input(DatasetInput(dataset, [InputTag("mlflow.data.context", "training")]))
        return self.run

    def _log_input(self, dataset: DatasetInput) -> None:
        """Log what a run read. MLflow checks whether it knows the dataset, then adds it; two runs may do so at once."""
        from mlflow.exceptions import MlflowException

        try:
            self._client.log_inputs(self.run, [dataset])
        except MlflowException:
            self._client.log_inputs(self.run, [dataset])

    def _learn(self, event: Learning) -> str:
        """Add points to the curves of a step that is at work; the first one opens its child run."""
        if event.name not in self._at_work:
            parent = self._parent(event)
            experiment = self._client.get_run(parent).info.experiment_id
            self._at_work[event.name] = self._child(experiment, parent, event.name, event.start_s, event.tags)
        self._log_curves(self._at_work[event.name], self._unseen(event.curves))
        return self._at_work[event.name]

    def _unseen(self, curves: Mapping[str, Iterable[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
        """Leave out the points that were logged while the step was at work."""
        left = {name: [each for each in curve if each[0] > self._shown.get(name, -1)] for name, curve in curves.items()}
        self._shown |= {name: int(curve[-1][0]) for name, curve in left.items() if curve}
        return left

    def _step(self, event: StepDone) -> str:
        parent = self._parent(event)
        experiment = self._client.get_run(parent).info.experiment_id
        child = self._at_work.pop(event.name, None)
        if child is None:
            child = self._child(experiment, parent, event.name, event.start_s, event.tags)
        self._log(child, event.metrics, event.params)
        self._log_curves(child, self._unseen(event.curves))
        self._shown.clear()
        for path, folder in event.files.items():
            self._client.log_artifact(child, path, folder or None)
        for trial in event.children:
            nested = self._child(experiment, child, trial["name"], event.start_s, {})
            self._log(nested, trial["metrics"], trial["params"])
            self._client.set_terminated(nested, end_time=int(event.end_s * 1000))
        self._client.set_terminated(child, end_time=int(event.end_s * 1000))
        self._log(parent, event.headline, event.params if event.headline else {})
        return child

    def _child(self, experiment: str, parent: str, name: str, start_s: float, tags: Mapping[str, str]) -> str:
        run = self._client.create_run(
            experiment, start_time=int(start_s * 1000), run_name=name, tags={"mlflow.parentRunId": parent, **tags}
        )
        return str(run.info.run_id)

    def _log(self, run: str, metrics: Mapping[str, float], params: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, Param

        now = int(time.time() * 1000)
        self._client.log_batch(
            run,
            metrics=[Metric(name, float(value), now, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)[:_MAX_PARAM_CHARS]) for name, value in params.items()],
        )

    def _log_curves(self, run: str, curves: Mapping[str, Iterable[tuple[int, float]]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [Metric(name, value, now, step) for name, curve in curves.items() for step, value in curve]
        for start in range(0, len(points), 1000):  # MLflow's limit for one call
            self._client.log_batch(run, metrics=points[start : start + 1000])

    def _register(self, event: Released) -> str:
        from mlflow.exceptions import MlflowException

        parent = self._parent(event)
        with suppress(MlflowException):  # it exists already
            self._client.create_registered_model(event.model)
        known = self._client.search_model_versions(f"name = '{event.model}'")
        if not any(each.tags.get("modelrail.version") == event.version for each in known):
            source = self._log_model(parent, event)
            tags = {**event.tags, "modelrail.version": event.version}
            version = self._client.create_model_version(event.model, source, parent, tags=tags)
            self._client.set_registered_model_alias(event.model, "champion", version.version)
        self._client.set_tag(parent, "modelrail.release", event.version)
        Path(event.marker).parent.mkdir(parents=True, exist_ok=True)
        Path(event.marker).touch()
        return parent

    def _look_back(self, event: LookedBack) -> str:
        from pipeline.runs.tracking.walk_forward import record_point

        return record_point(self._client, self._experiment(event.model), event)

    def _evaluate_unseen(self, event: UnseenEvaluated) -> str:
        from pipeline.runs.tracking.prequential import record_point

        return record_point(self._client, self._experiment(event.model), event)

    def _log_model(self, run: str, event: Released) -> str:
        """Log the bundle as a model that MLflow can load, with its signature and an example."""
        from mlflow.models import Model

        from pipeline.runs.tracking.model_files import write_model

        with tempfile.TemporaryDirectory() as place:
            write_model(Path(place), Path(event.bundle), Model(run_id=run).to_dict(), event.private)
            self._client.log_artifacts(run, place, "model")
        return f"{self._client.get_run(run).info.artifact_uri}/model"

    def _close(self, event: RunClosed) -> str:
        run = self._parent(event)
        for child in self._at_work.values():  # it did not end by itself
            self._client.set_terminated(child, status=event.status)
        for name, value in event.tags.items():
            self._client.set_tag(run, name, value)
        self._client.set_terminated(run, status=event.status)
        return run

    def _parent(self, event: Event) -> str:
        run = event.run or self.run
        if run is None:
            raise ModelrailError("tracking: no MLflow run is open; the event before this one failed")
        return run


def open_client(tracking: str) -> MlflowClient:
    """Open a client, which imports MLflow; a SQLite file that is not there is made."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    # By default a server that is not there is asked for four minutes, and a silent one for longer.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    from mlflow import MlflowClient

    # That it makes its tables is no news, and an error that it logs with its traceback is raised as well.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    if not tracking.startswith("sqlite:///"):
        return MlflowClient(tracking, registry_uri=tracking)
    file = Path(tracking.removeprefix("sqlite:///"))
    file.parent.mkdir(parents=True, exist_ok=True)
    with _making_tables(file):
        return MlflowClient(tracking, registry_uri=tracking)


@contextmanager
def _making_tables(file: Path) -> Iterator[None]:
    """Let only one process at a time check a new database for its tables: two at once would both make them."""
    if file.exists() and not os.access(file.parent, os.W_OK):  # only to be read
        yield
        return
    with file.with_name(f"{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
