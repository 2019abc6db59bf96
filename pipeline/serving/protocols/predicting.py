"""The server's own protocol: ``POST /api/predict`` with rows as arrays or records, in JSON, Arrow or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from pipeline.serving.rows.bodies import parse
from pipeline.serving.scoring.answers import Reply, encode
from pipeline.serving.scoring.questions import Question, Scores
from pipeline.serving.scoring.served import ServedModel

_TABLES = (b"application/vnd.apache.arrow", b"application/vnd.apache.parquet")


class Answer(msgspec.Struct, omit_defaults=True):
    """Body of a prediction."""

    outputs: list[Any]
    model: str
    version: str
    id: str
    probabilities: list[list[float]] | None = None
    classes: Sequence[Any] | None = None


def read_prediction(model: ServedModel, body: bytes | bytearray, headers: Mapping[bytes, bytes]) -> Question:
    """Read the body of ``/api/predict``."""
    if headers.get(b"content-type", b"").startswith(_TABLES):
        from pipeline.serving.protocols.tables import read_table

        return read_table(model, body, headers)
    rows, probabilities = model.reader.open(parse(body))
    return Question(_answer_with_probabilities if probabilities else _answer, listed=rows)


def _answer(scores: Scores) -> Reply:
    model = scores.model
    return Reply(200, encode(Answer(scores.outputs, model.model, model.version, scores.prediction_id)))


def _answer_with_probabilities(scores: Scores) -> Reply:
    model, given = scores.model, scores.predictions.probabilities
    listed = np.asarray(given, dtype=np.float64).tolist() if given is not None and scores.outputs else None
    classes = model.signature.classes if listed is not None else None
    return Reply(200, encode(Answer(scores.outputs, model.model, model.version, scores.prediction_id, listed, classes)))
