"""Predictions for raw rows, by the same code that will serve the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.model.images.rules import ImageRule
from pipeline.model.signature import Input, Signature
from pipeline.serving.scoring.model import load_model
from pipeline.serving.scoring.served import Predictions, ServedModel
from pipeline.steps.evaluate.sample import Prediction
from pipeline.steps.transform import number_matrix, text_matrix

_BATCH_ROWS = 8_192  # what a graph holds between its nodes stays in the processor's cache, and small

Predict = Callable[[pd.DataFrame], Prediction]


def predictor_of(bundle: Path, known: Mapping[str, npt.NDArray[np.float32]] | None = None) -> Predict:
    """Build the function from raw rows to predictions.

    Parameters
    ----------
    known : mapping, optional
        Texts whose vectors are known already.
    """
    model = load_model(bundle)
    if model.encoder is not None and known:
        model.encoder.known = known

    def predict(rows: pd.DataFrame) -> Prediction:
        found = predict_rows(model, rows)
        if model.signature.task == "regression":
            return Prediction(values=found.values)
        return Prediction(labels=found.values, probabilities=found.probabilities)

    return predict


def predict_rows(model: ServedModel, rows: pd.DataFrame) -> Predictions:
    """Predict raw rows, whose texts are uniform, in batches, so that memory stays bounded."""
    starts = range(0, max(len(rows), 1), _BATCH_ROWS)
    return Predictions.join([_predict_batch(model, rows.iloc[start : start + _BATCH_ROWS]) for start in starts])


def _predict_batch(model: ServedModel, rows: pd.DataFrame) -> Predictions:
    signature = model.signature
    return model.predict(
        _numbers(rows, signature) if signature.numbers else None,
        text_matrix(rows, signature.texts) if signature.texts else None,
    )


def _numbers(rows: pd.DataFrame, signature: Signature) -> npt.NDArray[np.float64]:
    """Compute the numbers that the graph reads; those of an image are computed anew, as in serving."""
    if all(each.image is None for each in signature.inputs):
        return number_matrix(rows, signature.numbers)
    asked = [each for each in signature.inputs if each.kind != "text"]
    return np.hstack([_image_numbers(rows, each) if each.image else number_matrix(rows, [each.name]) for each in asked])


def _image_numbers(rows: pd.DataFrame, column: Input) -> npt.NDArray[np.float64]:
    from pipeline.model.images.decoding import read_image  # nobody else needs OpenCV

    rule = ImageRule.from_json(column.image or {})
    found = np.full((len(rows), len(column.columns)), np.nan)
    for place, text in enumerate(rows[column.name]):
        if isinstance(text, str) and text:
            found[place] = read_image(text, rule)
    return found


def encode(target: pd.Series[Any], signature: Signature) -> npt.NDArray[Any]:
    """Encode the true values as an evaluation reads them: numbers, or indices into the classes (-1: none of them)."""
    if signature.classes is None:
        return target.to_numpy(dtype=np.float64)
    classes = pd.Index(list(signature.classes), dtype=object)
    return np.asarray(classes.get_indexer(pd.Index(target.to_numpy(), dtype=object)))


def output_of(prediction: Prediction, row: int, signature: Signature) -> Any:
    """Write a prediction as the server does: a number, or a class."""
    if signature.classes is None:
        return float(prediction.outputs[row])
    return signature.classes[int(prediction.outputs[row])]
