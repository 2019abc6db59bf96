"""Fitting by a program in an environment of its own, for the trainers ``container`` and ``mxnet``."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import InputError, TrainingError
from pipeline.extras import require
from pipeline.home import home
from pipeline.spec.shipped_programs import shipped_files
from pipeline.steps.train.containers.exchange import LOSSES, Answer, read_answer, read_losses, write_question
from pipeline.steps.train.containers.models import Stranger, read_stranger
from pipeline.steps.train.isolation.environments import make_environment
from pipeline.steps.train.isolation.processes import Order, run_order
from pipeline.steps.train.parity import MAX_DATA_ROWS, compare, spread, unit_of
from pipeline.steps.train.results import Fitted, Floats
from pipeline.steps.train.task import FitRequest

MAX_FRAMEWORK_DIFFERENCE = 1e-4
"""Frameworks compute in single precision; ours is the distance that `pipeline.steps.train.parity` measures."""


@dataclass(frozen=True)
class Program:
    """What is run, and in which environment.

    Attributes
    ----------
    files : mapping
        Path in its folder → content.
    requirements : bytes or None
        Of its environment; None if it runs in `image`.
    arguments : mapping
        What it is told in ``job.json``.
    """

    words: tuple[str, ...]
    files: Mapping[str, bytes]
    requirements: bytes | None
    python: str
    arguments: Mapping[str, Any]
    timeout_s: int
    image: str | None = None


def fit_elsewhere(request: FitRequest) -> Fitted:
    """Have a program train a model in an environment of its own.

    Raises
    ------
    InputError
        The environment cannot be made.
    TrainingError
        The program fails, or leaves something else than a model that a release may consist of.
    """
    program = _PROGRAMS[request.trainer](request)
    state = request.support.state or home()
    log = state / "logs" / "train" / f"{_name(request)}.log"
    environment = _environment(request, program, state / "environments")
    with tempfile.TemporaryDirectory(prefix="modelrail-train-") as place:
        folder = Path(place)
        for name, content in program.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        write_question(request, program.arguments, folder)
        order = Order(program.words, folder, environ_of(environment, folder), log, program.timeout_s)
        try:
            return accept(request, _have_done(request, order))
        except TrainingError as error:
            raise TrainingError(f"train: {error}; its log: {log}") from error


def _environment(request: FitRequest, program: Program, root: Path) -> Path:
    """Return the folder whose ``bin`` comes first: of a virtual environment, or of this pod's image."""
    if program.requirements is not None:
        require("isolation", "model.trainer", f"'{request.trainer}'")
        return make_environment(program.requirements, program.python, root)
    if os.environ.get("MODELRAIL_IMAGE") != program.image:
        raise InputError(
            f"model.params.image: found '{program.image}' outside of a pod that has it; expected Airflow to run the "
            "step (run.train: pod)"
        )
    return Path("/usr/local")


def _name(request: FitRequest) -> str:
    """Name the log of a request, so that each trial of a search has its own."""
    facts = json.dumps([request.trainer, dict(request.params), len(request.train), request.seed], sort_keys=True)
    return f"{request.trainer}-{hashlib.sha256(facts.encode()).hexdigest()[:16]}"


def environ_of(environment: Path, folder: Path) -> dict[str, str]:
    """Return the variables of a program: none of ours but those that say which devices it may use."""
    passed = ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "NVIDIA_VISIBLE_DEVICES")
    return {name: os.environ[name] for name in passed if name in os.environ} | {
        "PATH": f"{environment / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "VIRTUAL_ENV": str(environment),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(os.cpu_count() or 1),
        "OMP_WAIT_POLICY": "PASSIVE",  # a waiting thread leaves its core to others
        "PYTHONHASHSEED": "0",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def _have_done(request: FitRequest, order: Order) -> Answer:
    seen = 0

    def watch() -> None:
        nonlocal seen
        points = read_losses(order.folder / LOSSES)
        if points[seen:]:
            request.support.tell(points[seen:])
        seen = len(points)

    if wrong := run_order(order, watch):
        raise TrainingError(f"found {wrong}; expected it to end with 0 within model.params.timeout_s")
    return read_answer(order.folder)


def accept(request: FitRequest, answer: Answer) -> Fitted:
    """Check what a program has left, and give it as a fitted model."""
    classes = len(request.classes or ())
    rows = request.validation if len(request.validation) else request.train
    tried = spread(rows.features, MAX_DATA_ROWS)
    stranger = read_stranger(answer.model, request.train.features.shape[1], classes, tried)
    notes = _compare_with_framework(request, stranger, answer.predictions)
    return Fitted(stranger, stranger.predict, answer.history, notes, is_native=False, metrics=answer.metrics)


def _compare_with_framework(request: FitRequest, stranger: Stranger, predictions: Floats | None) -> tuple[str, ...]:
    if predictions is None or not len(request.validation):
        return ()
    found = stranger.predict(request.validation.features)
    if predictions.shape != found.shape:
        raise TrainingError(f"found predictions.parquet of shape {predictions.shape}; expected {found.shape}")
    gap = compare(np.asarray(predictions), found, unit=unit_of(request.train.target)).max_difference
    if gap > MAX_FRAMEWORK_DIFFERENCE:
        raise TrainingError(
            f"found that model.onnx differs from predictions.parquet by up to {gap:.1e}; expected at most "
            f"{MAX_FRAMEWORK_DIFFERENCE:g}"
        )
    return (f"{request.trainer}: its framework and the graph differ by at most {gap:.1e}",)


def _container(request: FitRequest) -> Program:
    params, read = request.params, request.support.read
    files = {each["file"]: read(each["file"], each["sha256"]) for each in params["files"]}
    listed, image = params["requirements"], params["image"]
    return Program(
        tuple(params["command"]),
        files,
        None if image else read(listed["file"], listed["sha256"]),
        params["python"] or f"{sys.version_info.major}.{sys.version_info.minor}",
        params["arguments"],
        params["timeout_s"],
        image,
    )


def _mxnet(request: FitRequest) -> Program:
    params, shipped = dict(request.params), shipped_files("mxnet")
    files = {"train.py": shipped["train.py"]}
    for name in ("symbol", "weights"):
        if params[name]:
            params[name], digest = params[name]["file"], params[name]["sha256"]
            files[params[name]] = request.support.read(params[name], digest)
    timeout_s = params.pop("timeout_s")
    return Program(("python", "train.py"), files, shipped["requirements.txt"], "3.11", params, timeout_s)


_PROGRAMS: Mapping[str, Callable[[FitRequest], Program]] = {"container": _container, "mxnet": _mxnet}
