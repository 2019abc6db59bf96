"""MLflow: one run tree a run, a child a step, and the registry. The only module that imports MLflow.

What happened is told by events (plain JSON), so that the same code records in this process (a task of
Airflow, where MLflow is already imported) or in a second one (``modelrail run``, where importing MLflow and
waiting for its database would cost as much as training does).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.errors import ModelrailError, TransientError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TRANSIENT = ("database is locked", "Connection", "timed out", "Max retries", "503", "502", "429")
_MAX_PARAM_CHARS = 5_000


@dataclass(frozen=True)
class RunOpened:
    """A run begins.

    Attributes
    ----------
    dataset : dict
        ``name``, ``digest`` (the data commit) and ``source`` of the rows.
    """

    model: str
    name: str
    tags: Mapping[str, str]
    dataset: Mapping[str, str]
    run: str | None = None


@dataclass(frozen=True)
class StepDone:
    """A step ended; it becomes a child run.

    Attributes
    ----------
    start_s, end_s : float
        Seconds since 1970-01-01 UTC.
    curves : dict
        Metric → (step, value) pairs, such as the loss by epoch.
    files : dict
        Path on this machine → folder in the run's artifacts.
    headline : dict
        Metrics that belong to the whole run as well.
    children : list
        Trials of a search: name, params and metrics of each.
    """

    name: str
    start_s: float
    end_s: float
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    headline: Mapping[str, float] = field(default_factory=dict)
    children: list[Mapping[str, Any]] = field(default_factory=list)
    run: str | None = None


@dataclass(frozen=True)
class Released:
    """A model was released; it becomes a registered version with the alias ``champion``.

    Attributes
    ----------
    bundle : str
        Folder with ``model.onnx`` (or the native model), ``signature.json`` and ``release.json``.
    marker : str
        File to make once it is registered.
    """

    model: str
    version: str
    bundle: str
    marker: str
    tags: Mapping[str, str]
    run: str | None = None


@dataclass(frozen=True)
class RunClosed:
    """A run ended: ``FINISHED``, ``FAILED`` or ``KILLED``."""

    status: str
    tags: Mapping[str, str]
    run: str | None = None


Event = RunOpened | StepDone | Released | RunClosed
_EVENTS: Mapping[str, type[Event]] = {each.__name__: each for each in (RunOpened, StepDone, Released, RunClosed)}


class Recorder(Protocol):
    """What events are told to."""

    def tell(self, event: Event) -> str:
        """Record an event; give the id of the MLflow run it belongs to (empty if it is not known yet)."""

    def run_id(self) -> str | None:
        """Give the id of the run that is open.

        Raises
        ------
        ModelrailError
            If something could not be recorded.
        """

    def finish(self) -> None:
        """Wait until everything told is recorded.

        Raises
        ------
        ModelrailError
            If something could not be recorded.
        """


class DirectRecorder:
    """Records in this process."""

    def __init__(self, tracking: str, artifacts: Path, run: str | None = None) -> None:
        self._tracker = _Tracker(tracking, artifacts, run)

    def tell(self, event: Event) -> str:  # noqa: D102
        return self._tracker.record(event)

    def run_id(self) -> str | None:  # noqa: D102
        return self._tracker.run

    def finish(self) -> None:  # noqa: D102
        return


class PipedRecorder:
    """Records in a second process, while this one goes on.

    If this process is killed, the other one sees the pipe end and marks the run as killed.
    """

    def __init__(self, tracking: str, artifacts: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.tracking", tracking, str(artifacts)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the run; it closes the record in order
        )
        self._unanswered = 0
        self._run: str | None = None
        self._failure: tuple[str, bool] | None = None

    def tell(self, event: Event) -> str:  # noqa: D102
        pipe = self._process.stdin
        line = json.dumps({"event": type(event).__name__, **asdict(event)})
        with suppress(BrokenPipeError):  # finish() says why the other process is gone
            if pipe is not None:
                pipe.write(line.encode() + b"\n")
                pipe.flush()
        self._unanswered += 1
        return ""

    def run_id(self) -> str | None:  # noqa: D102
        self._hear()
        self._raise()
        return self._run

    def finish(self) -> None:  # noqa: D102
        self._hear()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._raise()

    def _raise(self) -> None:
        if self._failure is not None:
            text, transient = self._failure
            raise (TransientError if transient else ModelrailError)(text)

    def _hear(self) -> None:
        while self._unanswered:
            self._unanswered -= 1
            line = self._process.stdout.readline() if self._process.stdout else b""
            reply = json.loads(line) if line else {"error": "tracking: the recording process ended early"}
            self._run = reply.get("run") or self._run
            if "error" in reply and self._failure is None:
                self._failure = (reply["error"], bool(reply.get("transient")))


class _Tracker:
    """Events, as calls of MLflow."""

    def __init__(self, tracking: str, artifacts: Path, run: str | None) -> None:
        self.run = run
        self._tracking = tracking
        self._artifacts = artifacts
        self._open_client: MlflowClient | None = None

    def record(self, event: Event) -> str:
        handlers: Mapping[type, Any] = {
            RunOpened: self._open,
            StepDone: self._step,
            Released: self._register,
            RunClosed: self._close,
        }
        try:
            return str(handlers[type(event)](event))
        except ModelrailError:
            raise
        except Exception as error:  # MLflow passes on whatever its database or server raised
            raise _explain(error, self._tracking) from error

    @property
    def _client(self) -> MlflowClient:
        if self._open_client is None:
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
            from mlflow import MlflowClient

            if self._tracking.startswith("sqlite:///"):
                Path(self._tracking.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            self._open_client = MlflowClient(self._tracking, registry_uri=self._tracking)
        return self._open_client

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        local = self._tracking.startswith("sqlite:")
        location = self._artifacts.resolve().as_uri() if local else None
        try:
            return str(self._client.create_experiment(name, artifact_location=location))
        except MlflowException:  # another run created it at the same time
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def _open(self, event: RunOpened) -> str:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        run = self._client.create_run(self._experiment(event.model), run_name=event.name, tags=dict(event.tags))
        self.run = str(run.info.run_id)
        dataset = Dataset(
            event.dataset["name"], event.dataset["digest"][:36], "git", json.dumps({"uri": event.dataset["source"]})
        )
        self._client.log_inputs(self.run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])
        return self.run

    def _step(self, event: StepDone) -> str:
        parent = self._parent(event)
        experiment = self._client.get_run(parent).info.experiment_id
        child = self._child(experiment, parent, event.name, event.start_s, event.tags)
        self._log(child, event.metrics, event.params)
        self._log_curves(child, event.curves)
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
            source = self._log_model(parent, Path(event.bundle))
            tags = {**event.tags, "modelrail.version": event.version}
            version = self._client.create_model_version(event.model, source, parent, tags=tags)
            self._client.set_registered_model_alias(event.model, "champion", version.version)
        self._client.set_tag(parent, "modelrail.release", event.version)
        Path(event.marker).parent.mkdir(parents=True, exist_ok=True)
        Path(event.marker).touch()
        return parent

    def _log_model(self, run: str, bundle: Path) -> str:
        """Log the bundle as a model that MLflow can load, with its signature and an example."""
        from mlflow.models import Model

        model = Model(run_id=run)
        if (bundle / "model.onnx").exists():
            model.add_flavor("onnx", data="model.onnx", onnx_version=_version("onnx"), code=None)
            model.add_flavor(
                "python_function", loader_module="mlflow.onnx", data="model.onnx", python_version=sys.version.split()[0]
            )
        model.metadata = json.loads((bundle / "signature.json").read_bytes())
        for path in sorted(bundle.iterdir()):
            self._client.log_artifact(run, str(path), "model")
        self._client.log_text(run, model.to_yaml(), "model/MLmodel")
        self._client.log_text(run, f"onnxruntime=={_version('onnxruntime')}\n", "model/requirements.txt")
        self._client.log_dict(run, model.metadata["example"], "model/input_example.json")
        return f"{self._client.get_run(run).info.artifact_uri}/model"

    def _close(self, event: RunClosed) -> str:
        run = self._parent(event)
        for name, value in event.tags.items():
            self._client.set_tag(run, name, value)
        self._client.set_terminated(run, status=event.status)
        return run

    def _parent(self, event: Event) -> str:
        run = event.run or self.run
        if run is None:
            raise ModelrailError("tracking: no MLflow run is open; the event before this one failed")
        return run


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


def _explain(error: Exception, tracking: str) -> ModelrailError:
    text = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    if any(sign in str(error) for sign in _TRANSIENT):
        return TransientError(
            f"tracking: MLflow at {tracking} did not answer ({text}); run again: what is done is kept"
        )
    return ModelrailError(
        f"tracking: MLflow at {tracking} failed ({text}); mend it or set MLFLOW_TRACKING_URI, and run again:"
        " what is done is kept"
    )


def _serve() -> None:
    """Record the events that come in by standard input, one a line, and answer each by a line."""
    tracker = _Tracker(sys.argv[1], Path(sys.argv[2]), None)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what MLflow prints must not be taken for an answer
    closed = False
    for line in sys.stdin:
        facts = json.loads(line)
        event = _EVENTS[facts.pop("event")](**facts)
        closed = isinstance(event, RunClosed)
        try:
            tracker.record(event)
            reply: dict[str, Any] = {"run": tracker.run}
        except ModelrailError as error:
            reply = {"error": str(error), "transient": isinstance(error, TransientError)}
        with suppress(BrokenPipeError):
            answers.write(json.dumps(reply) + "\n")
    if tracker.run is not None and not closed:
        tracker.record(RunClosed("KILLED", {"modelrail.outcome": "killed"}))


if __name__ == "__main__":
    _serve()
