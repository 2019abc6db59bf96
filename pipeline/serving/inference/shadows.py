"""Releases that are asked the same as the live one and whose answers nobody sees: they are only compared."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter

import numpy as np

from pipeline.serving.inference.fleet import Served
from pipeline.serving.scoring.questions import Question
from pipeline.serving.scoring.served import Predictions, ServedModel

_MAX_WAITING = 64
_TOLERANCE = 1e-5
"""Numbers that differ by less, relative to the larger or 1, are the same (as for the parity of a conversion)."""


class Shadows:
    """Asks shadows in a thread of its own; requests that come faster than they answer are left out."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._waiting = 0

    def offer(
        self, shadows: Sequence[Served], question: Question, model: ServedModel, predictions: Predictions
    ) -> None:
        """Compare what a shadow says of a request that was answered."""
        for shadow in shadows:
            is_same_question = question.listed is not None or shadow.model.signature.inputs == model.signature.inputs
            if not is_same_question or self._waiting >= _MAX_WAITING or random.random() >= shadow.share:  # noqa: S311
                continue
            self._thread = self._thread or ThreadPoolExecutor(1, thread_name_prefix="shadows")
            self._waiting += 1
            shadow.meter.begin()
            task = asyncio.get_running_loop().run_in_executor(
                self._thread, _compare, shadow, question, model.outputs(predictions)
            )
            task.add_done_callback(partial(self._end, shadow))

    def _end(self, shadow: Served, done: asyncio.Future[tuple[int, int, int, float, float | None]]) -> None:
        self._waiting -= 1
        status, rows, different, seconds, output = done.result()
        shadow.meter.end(status, seconds, rows, output=output)
        if status == 200:
            shadow.meter.compare(rows, different)


def _compare(shadow: Served, question: Question, outputs: list[object]) -> tuple[int, int, int, float, float | None]:
    """Compare a shadow's answer; return status, rows, how many differ, the seconds, and the prediction for one row."""
    started = perf_counter()
    model = shadow.model
    try:
        rows = question.rows if question.rows is not None else model.reader.arrays(question.listed or ())
        predictions = model.predict(rows.numbers, rows.texts)
        if not np.isfinite(predictions.values).all():
            return 422, 0, 0, perf_counter() - started, None
        answers = model.outputs(predictions)
        if shadow.seen is not None:
            shadow.seen(rows, predictions, (), ())
    except Exception:  # noqa: BLE001  # a shadow that fails must be seen in the counts, and nowhere else
        return 500, 0, 0, perf_counter() - started, None
    seconds, output = perf_counter() - started, predictions.pick(random.random())  # noqa: S311  # no secret
    return 200, rows.count, _differences(outputs, answers), seconds, output


def _differences(ours: Sequence[object], theirs: Sequence[object]) -> int:
    if ours and all(type(each) is float for each in (*ours, *theirs)):
        return int((~np.isclose(np.array(theirs, float), np.array(ours, float), _TOLERANCE, _TOLERANCE)).sum())
    return sum(a != b for a, b in zip(ours, theirs, strict=True))
