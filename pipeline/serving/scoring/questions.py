"""What a request asks, whatever protocol it came in, and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.rows.records import Rows
from pipeline.serving.scoring.answers import Reply, fail, refuse
from pipeline.serving.scoring.served import Predictions, ServedModel, refuse_overflow

MAX_TOGETHER = 4096
"""Most rows of several requests that are scored in one go."""


class Scores(msgspec.Struct, frozen=True):
    """The predictions for one request.

    Attributes
    ----------
    outputs : list
        n numbers or classes, as JSON shows them.
    """

    model: ServedModel
    prediction_id: str
    outputs: list[Any]
    predictions: Predictions


class Question(msgspec.Struct):
    """Rows and how to answer for them.

    Attributes
    ----------
    rows : Rows or None
        Arrays, where the protocol gives such.
    listed : sequence or None
        Else rows as JSON gave them; those of several requests are converted and scored together.
    answer : callable
        Makes the body of the scores.
    """

    answer: Callable[[Scores], Reply]
    rows: Rows | None = None
    listed: Sequence[Any] | None = None

    @property
    def count(self) -> int:
        """How many rows there are."""
        return self.rows.count if self.rows is not None else len(self.listed or ())


Seen = Callable[[Rows, Predictions, Sequence[str], Sequence[int]], None]
"""Is told the rows that were answered, with what, the ids of their requests, and how many rows each of these had."""


class Dialect(Protocol):
    """A protocol in which predictions can be asked for."""

    def __call__(self, model: ServedModel, body: bytes | bytearray, headers: Mapping[bytes, bytes], /) -> Question:
        """Read a request; a RejectedError says what is wrong with it."""


def score(
    model: ServedModel, question: Question, prediction_id: str, seen: Seen | None = None
) -> tuple[Reply, Predictions | None]:
    """Answer one request; safe in any thread."""
    try:
        rows = question.rows if question.rows is not None else model.reader.arrays(question.listed or ())
        if not rows.count:
            return question.answer(Scores(model, prediction_id, [], _NOTHING)), None
        predictions = model.predict(rows.numbers, rows.texts)
        refuse_overflow(predictions.values)
        reply = question.answer(Scores(model, prediction_id, model.outputs(predictions), predictions))
        reply.rows = rows.count
        if seen is not None:
            seen(rows, predictions, (prediction_id,), (rows.count,))
    except RejectedError as error:
        return refuse(error, prediction_id), None
    except Exception as error:  # noqa: BLE001  # the graph failed on these rows: the caller and the log learn of it
        return fail(error, prediction_id), None
    return reply, predictions


_NOTHING = Predictions(np.empty(0), np.empty((0, 0)))


def score_together(
    model: ServedModel, questions: Sequence[Question], ids: Sequence[str], seen: Seen | None = None
) -> list[tuple[Reply, Predictions | None]] | None:
    """Answer several requests with listed rows in one go; None if one of them must be looked at by itself."""
    counts = [len(each.listed or ()) for each in questions]
    if not all(counts) or sum(counts) > MAX_TOGETHER:
        return None
    listed = [row for each in questions for row in each.listed or ()]
    try:
        rows = model.reader.arrays(listed)
        together = model.predict(rows.numbers, rows.texts)
        refuse_overflow(together.values)
    except Exception:  # noqa: BLE001  # whose fault it is will be seen when each is tried alone
        return None
    if seen is not None:
        seen(rows, together, ids, counts)
    outputs, start = model.outputs(together), 0
    result: list[tuple[Reply, Predictions | None]] = []
    for question, prediction_id, count in zip(questions, ids, counts, strict=True):
        stop = start + count
        probabilities = together.probabilities
        mine = Predictions(
            together.values[start:stop], probabilities[start:stop] if probabilities is not None else None
        )
        reply = question.answer(Scores(model, prediction_id, outputs[start:stop], mine))
        reply.rows = count
        result.append((reply, mine))
        start = stop
    return result
