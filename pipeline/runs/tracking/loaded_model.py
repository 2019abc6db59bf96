"""What MLflow loads of a released model: raw columns of a frame become predictions, without Modelrail.

This module goes into the model in MLflow's registry, with those of `SHIPPED`. They are renamed there, so that they meet
neither an installed Modelrail nor a module of the user's that is called ``pipeline``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.model.sentences import ENCODER, PIECES
from pipeline.model.sentences.encoding import SentenceEncoder
from pipeline.model.signature import Input, Signature
from pipeline.serving.rows.columns import read_columns
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.rows.records import Reader
from pipeline.serving.scoring.served import ServedModel, probability_names, refuse_overflow
from pipeline.serving.scoring.sessions import open_session, score_graph


class LoadedModel:
    """Predicts as the server of the release does."""

    def __init__(self, model: ServedModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Predict the rows of a frame.

        Parameters
        ----------
        model_input : DataFrame of n rows
            Raw columns by name, as callers of the server send them; times also as times, categories as such.
        params : mapping, optional
            ``probabilities``: whether a classifier gives these too.

        Returns
        -------
        array of shape (n,), or DataFrame of n rows
            Numbers, or the classes themselves; with probabilities a frame with the index of the given one, of the
            columns ``prediction`` and a ``probability_CLASS`` for each class.

        Raises
        ------
        ValueError
            If a row does not fit the model's signature.
        """
        frame = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        columns = {
            each.name: values_in(frame[each.name], each) for each in self._model.signature.inputs if each.name in frame
        }
        try:
            rows = read_columns(self._model.reader, columns)
            found = self._model.predict(rows.numbers, rows.texts)
            refuse_overflow(found.values)
        except RejectedError as error:
            raise ValueError(str(error)) from None
        predictions = pd.Series(self._model.outputs(found), index=frame.index, name="prediction")
        if not (params or {}).get("probabilities") or found.probabilities is None:
            return predictions.to_numpy()  # MLflow's server answers with a list then, as ours does
        names = probability_names(self._model.signature.classes)
        shares = pd.DataFrame(np.asarray(found.probabilities, dtype=np.float64), columns=names, index=frame.index)
        return pd.concat([predictions, shares], axis=1)


def _load_pyfunc(path: str) -> LoadedModel:
    """Load the model in a folder; MLflow calls this by its name."""
    folder = Path(path)
    signature = Signature.from_json(json.loads((folder / "signature.json").read_bytes()))
    release = json.loads((folder / "release.json").read_bytes())
    graph = folder / "model.onnx"
    score = score_graph(open_session(graph.read_bytes(), graph), signature, graph)
    encoder = None
    if signature.sentences:
        session = open_session((folder / ENCODER).read_bytes(), folder / ENCODER)
        encoder = SentenceEncoder(session, (folder / PIECES).read_bytes())
    model = ServedModel(release["model"], release["version"], signature, release, Reader(signature), score, encoder)
    return LoadedModel(model)


def values_in(column: Any, wanted: Input) -> Any:
    """Convert a column of a frame to what a request would hold: an array, or a list of JSON values."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else "O"
    if wanted.type == "bool" and kind in "iuf":
        return [_flag(each) for each in column.tolist()]
    if kind in "iufbM":
        values: NDArray[Any] = column.to_numpy()
        return values
    write = _writer(wanted)
    return [write(each) for each in column.tolist()]


def _flag(value: float) -> Any:
    """Read 0 and 1, which is how frames and files may hold flags."""
    return bool(value) if value in (0, 1) else None if math.isnan(value) else value


def _writer(wanted: Input) -> Callable[[Any], Any]:
    def write(value: Any) -> Any:
        if value is None or value is pd.NaT or value is pd.NA:
            return None
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, float) and math.isnan(value):
            return None
        if wanted.type == "bool" and type(value) in (int, float):
            return _flag(value)
        return _write_time(value, wanted.format) if isinstance(value, date) else value

    return write


def _write_time(moment: date, pattern: str | None) -> str:
    if isinstance(moment, datetime) and moment.tzinfo:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return moment.strftime(pattern) if pattern else moment.isoformat()
