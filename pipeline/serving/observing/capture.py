"""A sample of what was asked and answered, kept for monitoring and for the next training.

Lines of JSON are collected in a thread and written as files ``captures/MODEL/VERSION/DAY/….jsonl`` in a folder or an
object store (`pipeline.storage.captures`). Private columns are dropped, or replaced by a keyed hash, before a line is
kept. What is older than it may become is removed, a day at a time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import queue
import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pipeline.serving.scoring.answers import encode
from pipeline.serving.scoring.questions import Question
from pipeline.serving.scoring.served import Predictions, ServedModel
from pipeline.serving.settings import Settings

if TYPE_CHECKING:
    from pipeline.storage.captures import CaptureFiles

_MAX_WAITING = 256
_FILE_BYTES = 4 * 2**20
_FILE_S = 60.0
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class _Taken:
    model: ServedModel
    question: Question
    predictions: Predictions
    prediction_id: str
    when: float


class Capture:
    """Keeps a share of the requests; what comes faster than it can be written is left out."""

    def __init__(self, settings: Settings) -> None:
        self.is_on = settings.capture_share > 0
        self._share, self._root = settings.capture_share, settings.capture_to.rstrip("/")
        self._keep_days, self._swept = settings.capture_keep_days, dict[str, date]()
        self._files: CaptureFiles | None = None
        self._rules = settings.private_columns
        self._salt = settings.capture_salt.encode() or os.urandom(32)
        self._waiting: queue.Queue[_Taken | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._write_for_ever, name="capture", daemon=True)
        if self._share:
            self._thread.start()

    def offer(self, model: ServedModel, question: Question, predictions: Predictions, prediction_id: str) -> None:
        """Draw whether to keep a request, and pass it to the writing thread."""
        if self._share and random.random() < self._share:  # noqa: S311  # a sample, not a secret
            try:
                self._waiting.put_nowait(_Taken(model, question, predictions, prediction_id, time.time()))
            except queue.Full:
                return

    def close(self) -> None:
        """Write what is waiting."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(10)

    def _write_for_ever(self) -> None:
        files: dict[tuple[str, str], bytearray] = {}
        due = time.monotonic() + _FILE_S
        while True:
            try:
                taken = self._waiting.get(timeout=max(due - time.monotonic(), 0.01))
            except queue.Empty:
                taken = None
                ends = False
            else:
                ends = taken is None
            if taken is not None:
                files.setdefault((taken.model.model, taken.model.version), bytearray()).extend(self._describe(taken))
            if ends or time.monotonic() >= due or any(len(each) >= _FILE_BYTES for each in files.values()):
                for (model, version), content in files.items():
                    self._put(model, version, bytes(content))
                self._remove_old({*(model for model, _ in files), *self._swept})
                files, due = {}, time.monotonic() + _FILE_S
            if ends:
                return

    def _describe(self, taken: _Taken) -> bytes:
        """Write the lines of a request; one that cannot be written costs itself, and not all that come after it."""
        try:
            return b"".join(encode(line) + b"\n" for line in self._lines(taken))
        except Exception as error:  # noqa: BLE001 - the thread must not end; the error's text may hold private values
            _warn(f"found {type(error).__name__} with {taken.prediction_id}; it is left out")
            return b""

    def _lines(self, taken: _Taken) -> Iterator[dict[str, Any]]:
        names = [each.name for each in taken.model.signature.inputs]
        outputs = taken.model.outputs(taken.predictions)
        for row, record in enumerate(_records(taken.question, taken.model, names)):
            yield {
                "id": taken.prediction_id,
                "row": row,
                "time": round(taken.when, 3),
                "record": dict(self._private(record)),
                "output": outputs[row],
            }

    def _private(self, record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, value in record.items():
            rule = self._rules.get(name)
            if rule is None or (rule == "hash" and value is None):
                yield name, value
            elif rule == "hash":
                yield name, hmac.new(self._salt, encode(value), hashlib.sha256).hexdigest()[:_HASH_DIGITS]

    def _put(self, model: str, version: str, content: bytes) -> None:
        try:
            self._open_files().write(model, version, content)
        except Exception as error:  # noqa: BLE001 - whatever a store's library raises, the next file may be written
            _warn(f"found {error}; {len(content)} bytes are lost")

    def _remove_old(self, models: Iterable[str]) -> None:
        """Remove what is older than it may become, of the models that are captured here, once a day."""
        today = datetime.now(UTC).date()
        for model in models if self._keep_days else ():
            if self._swept.get(model) == today:
                continue
            self._swept[model] = today
            try:
                self._open_files().remove_before(model, today - timedelta(days=self._keep_days))
            except Exception as error:  # noqa: BLE001 - as above
                _warn(f"found {error}; what is older than {self._keep_days} days stays")

    def _open_files(self) -> CaptureFiles:
        if self._files is None:
            from pipeline.storage.captures import CaptureFiles  # most servers capture nothing

            self._files = CaptureFiles(self._root)
        return self._files


def _warn(text: str) -> None:
    os.write(2, f"capture: {text}\n".encode())


def _records(question: Question, model: ServedModel, names: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows by column name: as they were sent, or as the graph read them (times in seconds)."""
    if question.listed is not None:
        yield from (row if isinstance(row, dict) else dict(zip(names, row, strict=True)) for row in question.listed)
        return
    rows, signature = question.rows, model.signature
    for row in range(rows.count if rows else 0):
        numbers = rows.numbers[row].tolist() if rows and rows.numbers is not None else []
        texts = rows.texts[row].tolist() if rows and rows.texts is not None else []
        values = dict(zip((*signature.numbers, *signature.texts), (*numbers, *texts), strict=True))
        yield {name: values[name] for name in names}
