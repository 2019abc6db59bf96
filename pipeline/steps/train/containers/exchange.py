"""The folder that a trainer in an environment of its own reads and writes: Parquet in, ONNX and metrics out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import TrainingError
from pipeline.steps.train.mapping import block_rows, let_go
from pipeline.steps.train.results import Array, Floats
from pipeline.steps.train.targets import Rows
from pipeline.steps.train.task import FitRequest

TRAIN, VALIDATION, JOB = "train.parquet", "validation.parquet", "job.json"
MODEL, METRICS, LOSSES, PREDICTIONS = "model.onnx", "metrics.json", "losses.jsonl", "predictions.parquet"


@dataclass(frozen=True)
class Answer:
    """What a trainer has left.

    Attributes
    ----------
    model : bytes
        The ONNX file, not looked at yet.
    metrics : dict
        What it measured itself.
    history : tuple of dict
        ``{"step", "loss", "validation_loss"}`` a line of its losses.
    predictions : ndarray of float64, shape (rows,) or (rows, classes), or None
        What its framework predicts for the validation rows.
    """

    model: bytes
    metrics: Mapping[str, float]
    history: tuple[dict[str, Any], ...]
    predictions: Floats | None


def write_question(request: FitRequest, arguments: Mapping[str, Any], folder: Path) -> None:
    """Write all that a trainer is given: the rows, and what to make of them."""
    target, weight = (_free(name, request.columns) for name in ("target", "weight"))
    for name, rows in ((TRAIN, request.train), (VALIDATION, request.validation)):
        _write(rows, (request.columns, target, weight), folder / name)
    told = {
        "task": request.task,
        "seed": request.seed,
        "features": list(request.columns),
        "target": target,
        "weight": None if request.train.weights is None else weight,
        "classes": None if request.classes is None else list(request.classes),
        "params": dict(arguments),
    }
    (folder / JOB).write_text(json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def _free(name: str, taken: tuple[str, ...]) -> str:
    while name in taken:
        name += "_"
    return name


def _write(rows: Rows, names: tuple[tuple[str, ...], str, str], path: Path) -> None:
    """Write rows a block at a time."""
    size = block_rows(len(names[0]))
    with pq.ParquetWriter(path, _table(rows.part(0, 0), *names).schema) as file:
        for start in range(0, len(rows), size):
            file.write_table(_table(rows.part(start, start + size), *names))
            let_go(rows.features)


def _table(rows: Rows, columns: tuple[str, ...], target: str, weight: str) -> pa.Table:
    features = {name: pa.array(rows.features[:, place]) for place, name in enumerate(columns)}
    weights = {} if rows.weights is None else {weight: pa.array(rows.weights)}
    return pa.table(features | {target: pa.array(rows.target)} | weights)


def read_answer(folder: Path) -> Answer:
    """Read what a trainer has left.

    Raises
    ------
    TrainingError
        Something is missing, or is not what it should be.
    """
    return Answer(
        _read(folder / MODEL),
        _read_metrics(folder / METRICS),
        _read_history(folder / LOSSES),
        _read_predictions(folder / PREDICTIONS),
    )


def read_losses(path: Path) -> list[dict[str, Any]]:
    """Read the losses that are there by now; a line that is still being written is left for later."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8", "replace").split("\n")[:-1]
    return [_point(line, number) for number, line in enumerate(lines, start=1) if line.strip()]


def _read(path: Path) -> bytes:
    if not path.is_file() or path.is_symlink():
        raise TrainingError(f"found no {path.name}; expected the command to write it into its folder")
    return path.read_bytes()


def _read_json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise TrainingError(f"found {where}, which is no JSON ({error}); expected JSON") from error


def _read_metrics(path: Path) -> dict[str, float]:
    found = _read_json(_read(path).decode("utf-8", "replace"), METRICS)
    if not isinstance(found, dict) or not all(map(_is_number, found.values())):
        raise TrainingError(f"found other things than finite numbers in {METRICS}; expected {{name: number}}")
    return {str(name): float(value) for name, value in found.items()}


def _read_history(path: Path) -> tuple[dict[str, Any], ...]:
    if path.is_file() and not path.read_bytes().endswith(b"\n"):
        with path.open("a") as file:
            file.write("\n")
    return tuple(read_losses(path))


def _point(line: str, number: int) -> dict[str, Any]:
    found = _read_json(line, f"line {number} of {LOSSES}")
    known = found if isinstance(found, dict) else {}
    judged = known.get("validation_loss")
    judged_well = judged is None or _is_number(judged)
    if not isinstance(known.get("step"), int) or not _is_number(known.get("loss")) or not judged_well:
        expected = '{"step": 1, "loss": 0.5, "validation_loss": 0.6}'
        raise TrainingError(
            f"found line {number} of {LOSSES}: {line[:100]}; expected finite numbers such as {expected}"
        )
    return {
        "step": known["step"],
        "loss": float(known["loss"]),
        "validation_loss": None if judged is None else float(judged),
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_predictions(path: Path) -> Floats | None:
    if not path.is_file():
        return None
    try:
        table = pq.read_table(path)
        columns: list[Array] = [np.asarray(each, np.float64) for each in table.columns]
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise TrainingError(f"found {PREDICTIONS}, which cannot be read ({error}); expected numbers") from error
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
