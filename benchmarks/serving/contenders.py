"""Who serves the same models, and how each is started and asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import environment
from benchmarks.serving.models import COLUMNS, PEERS

ROOT = Path(__file__).resolve().parents[2]
Row = Sequence[float]
Command = tuple[str | Path, ...]


@dataclass(frozen=True)
class Place:
    """Where a contender serves.

    Attributes
    ----------
    model : Path
        What it is to serve, as its own preparation left it.
    tools : Path
        Programs of its virtual environment.
    ports : sequence of int
        Three free ones; requests go to the first.
    """

    model: Path
    tools: Path
    ports: Sequence[int]


@dataclass(frozen=True)
class Contender:
    """A server for one model.

    Attributes
    ----------
    peer : str or None
        Folder of its requirements in ``peers/``; None if it is at home in this virtual environment.
    command : callable
        Starts it: one process that answers, without a log of requests where that can be turned off.
    path, body : str, callable
        Where and how it is asked for one row.
    """

    peer: str | None
    command: Callable[[Place], Command]
    path: str
    body: Callable[[Row], object]
    settings: Callable[[Place], Mapping[str, str]] = lambda _: {}

    def environment(self, place: Place) -> dict[str, str]:
        """Return the variables that it starts with; one thread each, as it has one core."""
        own = {"PYTHONPATH": str(PEERS / self.peer if self.peer else ROOT), "OMP_NUM_THREADS": "1"}
        return environment(**own, **self.settings(place))

    def content(self, row: Row) -> str:
        """Return the body of a request."""
        return json.dumps(self.body(row), separators=(",", ":"))


def start_echo(place: Place) -> Command:
    return (sys.executable, "-m", "benchmarks.serving.echo", str(place.ports[0]))


def start_modelrail(place: Place) -> Command:
    return (
        *(sys.executable, "-m", "pipeline.serving.process.server"),
        *("--bundle", place.model, "--port", str(place.ports[0])),
    )


def start_fastapi(place: Place) -> Command:
    return (place.tools / "uvicorn", "service:app", "--port", str(place.ports[0]), "--no-access-log")


def start_mlflow(place: Place) -> Command:
    return (
        *(place.tools / "mlflow", "models", "serve", "--model-uri", place.model, "--port", str(place.ports[0])),
        *("--env-manager", "local", "--workers", "1"),
    )


def start_bentoml(place: Place) -> Command:
    return (place.tools / "bentoml", "serve", "service:Model", "--port", str(place.ports[0]))


def start_mlserver(place: Place) -> Command:
    return (place.tools / "mlserver", "start", ".")


def mlflow_settings(place: Place) -> dict[str, str]:
    return {"PATH": f"{place.tools}:{environment()['PATH']}"}  # it looks for its own uvicorn


def bentoml_settings(place: Place) -> dict[str, str]:
    return {"BENTOML_HOME": str(place.model.parent / "home"), "BENTOML_DO_NOT_TRACK": "True"}


def mlserver_settings(place: Place) -> dict[str, str]:
    http, grpc, metrics = map(str, place.ports)
    return {
        "MLSERVER_DEBUG": "false",
        "MLSERVER_HTTP_PORT": http,
        "MLSERVER_GRPC_PORT": grpc,
        "MLSERVER_METRICS_PORT": metrics,
        "MLSERVER_PARALLEL_WORKERS": "0",  # with one core, a second process only costs
    }


def inputs(row: Row) -> object:
    return {"inputs": [row]}


def tensor(row: Row) -> object:
    return {"inputs": [{"name": "predict", "shape": [1, COLUMNS], "datatype": "FP64", "data": row}]}


CONTENDERS: Mapping[str, Contender] = {
    "echo": Contender(None, start_echo, "/", inputs),
    "modelrail": Contender(None, start_modelrail, "/api/predict", inputs),
    "fastapi": Contender("fastapi", start_fastapi, "/predict", inputs),
    "mlflow": Contender("mlflow", start_mlflow, "/invocations", inputs, mlflow_settings),
    "bentoml": Contender("bentoml", start_bentoml, "/predict", lambda row: {"rows": [row]}, bentoml_settings),
    "mlserver": Contender("mlserver", start_mlserver, "/v2/models/model/infer", tensor, mlserver_settings),
}
