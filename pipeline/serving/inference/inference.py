"""One request for predictions from its head to its record, whatever protocol it came in.

Requests that arrive in the same turn of the event loop are scored together. None waits for another, since all have
arrived already, and one run of a graph over sixteen rows costs little more than over one.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING

from pipeline.serving.inference.access import Access
from pipeline.serving.inference.fleet import Fleet, Served
from pipeline.serving.inference.shadows import Shadows
from pipeline.serving.observing.capture import Capture
from pipeline.serving.observing.logs import Details, Log, event
from pipeline.serving.observing.tracing import Exporter, Span, span_of
from pipeline.serving.rows.columns import check_count
from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.scoring.answers import Reply, fail, refuse
from pipeline.serving.scoring.questions import Dialect, Question, score, score_together
from pipeline.serving.settings import Settings

if TYPE_CHECKING:
    from pipeline.serving.scoring.served import Predictions

RETRY_S = 1
"""When a caller who is one too many should come again."""

Done = Callable[["Exchange", Reply], None]


def _digits() -> Iterator[str]:
    """Yield 32 random hexadecimal digits each time; the digits of many ids are read from the system at once."""
    while True:
        drawn = os.urandom(64 * 16).hex()
        yield from (drawn[start : start + 32] for start in range(0, len(drawn), 32))


_draw = _digits().__next__


class Exchange:
    """A request that is being answered."""

    __slots__ = ("dialect", "done", "headers", "id", "path", "predictions", "question", "reply", "served", "span",
                 "started", "user")  # fmt: skip

    def __init__(self, path: str, headers: Mapping[bytes, bytes], dialect: Dialect, served: Served) -> None:
        self.started = perf_counter()
        self.path, self.headers, self.dialect, self.served = path, headers, dialect, served
        self.id = f"{served.tag}:{_draw()}"
        self.question: Question | None = None
        self.predictions: Predictions | None = None
        self.reply: Reply | None = None
        self.done: Done | None = None
        self.span: Span | None = None
        self.user: str | None = None


class Inference:
    """Answers with a fleet, which can be exchanged while it runs; used from the event loop only."""

    def __init__(self, fleet: Fleet, settings: Settings, log_fd: int = 1) -> None:
        self.fleet, self.settings = fleet, settings
        self.access = Access(settings)
        self._log, self._capture = Log(log_fd), Capture(settings)
        self._exporter = Exporter(settings.otlp_endpoint) if settings.otlp_endpoint else None
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="large-bodies")
        self._shadows = Shadows()
        self._open = 0
        self._waiting: list[Exchange] = []

    def begin(
        self,
        path: str,
        headers: Mapping[bytes, bytes],
        dialect: Dialect,
        name: str | None = None,
        version: str | None = None,
    ) -> Exchange:
        """Take a request in by its head; it holds one of the places of `max_concurrent` until `end`.

        The exchange has a reply already if the request is refused, or if looking at it failed. So it always comes back,
        and whoever gets it ends it: no other way leads to a place, and none past `end`.
        """
        refusal = None
        try:
            chance = random.random() if self.fleet.has_canaries else 1.0  # noqa: S311  # shares, not secrets
            served = self.fleet.choose(name, version, chance)
        except RejectedError as error:
            served, refusal = self.fleet.default.live, error
        exchange = Exchange(path, headers, dialect, served)
        exchange.span = span_of(headers, begin=self._exporter is not None)
        served.meter.begin()
        self._open += 1
        try:
            self._admit(exchange, refusal)
        except RejectedError as error:
            exchange.reply = refuse(error, exchange.id)
        except Exception as error:  # noqa: BLE001 - a fault of ours must not keep the place
            exchange.reply = fail(error, exchange.id)
        if exchange.reply:
            exchange.reply.close = True  # its body is not read
        return exchange

    def _admit(self, exchange: Exchange, refusal: RejectedError | None) -> None:
        if not self.access.is_open:
            exchange.user = self.access.check(exchange.headers)
        if refusal:
            raise refusal
        self._check_room()

    def submit(self, exchange: Exchange, body: bytes | bytearray, done: Done) -> None:
        """Answer a small body together with all others of this turn; `done` is then called with the reply."""
        exchange.done = done
        if exchange.reply is None:
            self._read(exchange, body)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self._waiting.append(exchange)

    def flush(self) -> None:
        """Answer what was submitted, in its order."""
        waiting, self._waiting = self._waiting, []
        groups: dict[Served, list[Exchange]] = {}
        for exchange in waiting:
            if exchange.reply is None:
                groups.setdefault(exchange.served, []).append(exchange)
        for served, group in groups.items():
            _score(served, group)
        for exchange in waiting:
            if exchange.done and exchange.reply:
                exchange.done(exchange, exchange.reply)

    async def compute(self, exchange: Exchange, body: bytes | bytearray) -> Reply:
        """Answer a large body in a thread, so that probes and small requests go on."""
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._compute, exchange, body)
        try:
            return await asyncio.wait_for(work, self.settings.answer_timeout_s)
        except TimeoutError:
            found = f"found no answer within {self.settings.answer_timeout_s:g} s"
            return refuse(RejectedError(503, f"{found}; expected less work (send fewer rows)", retry_after_s=RETRY_S))

    def end(self, exchange: Exchange, status: int) -> None:
        """Count and log a request that was answered with `status`; offer it to shadows and captures."""
        seconds = perf_counter() - exchange.started
        served, span, reply = exchange.served, exchange.span, exchange.reply
        rows = reply.rows if reply else 0
        self._open -= 1
        output = exchange.predictions.pick(random.random()) if exchange.predictions else None  # noqa: S311  # no secret
        served.meter.end(status, seconds, rows, span.trace_id if span else exchange.id[-32:], output)
        ending = event(exchange.path, status, served.model.model, served.model.version, served.track)
        self._log.add(ending, exchange.id, seconds, rows, _details(exchange))
        if self._exporter and span:
            facts: dict[str, str | int] = {"http.response.status_code": status, "url.path": exchange.path}
            facts |= {"modelrail.release": served.tag, "modelrail.prediction_id": exchange.id, "modelrail.rows": rows}
            self._exporter.add(span, f"POST {exchange.path}", seconds, status, facts)
        if status == 200 and (self._capture.is_on or self.fleet.has_shadows):
            self._offer(exchange)

    def _offer(self, exchange: Exchange) -> None:
        model, question, predictions = exchange.served.model, exchange.question, exchange.predictions
        if question is None or predictions is None:
            return
        self._capture.offer(model, question, predictions, exchange.id)
        shadows = self.fleet.find(model.model).shadows if model.model in self.fleet.models else ()
        self._shadows.offer(shadows, question, model, predictions)

    def close(self) -> None:
        """End the threads; count what was answered, and write what was captured."""
        for each in self.fleet.releases:
            for meter in (each.features, each.truth):
                if meter is not None:
                    meter.count()
        self._capture.close()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check_room(self) -> None:
        if self._open > self.settings.max_concurrent:
            found = f"found more than {self.settings.max_concurrent} requests at work"
            raise RejectedError(429, f"{found}; expected one to end first", retry_after_s=RETRY_S)

    def _read(self, exchange: Exchange, body: bytes | bytearray) -> None:
        try:
            question = exchange.dialect(exchange.served.model, body, exchange.headers)
            check_count(question.count, self.settings.max_rows)
            exchange.question = question
        except RejectedError as error:
            exchange.reply = refuse(error, exchange.id)
        except Exception as error:  # noqa: BLE001 - as in `begin`
            exchange.reply = fail(error, exchange.id)

    def _compute(self, exchange: Exchange, body: bytes | bytearray) -> Reply:
        self._read(exchange, body)
        if exchange.question is None:
            return exchange.reply or refuse(RejectedError(400, "found nothing to answer"), exchange.id)
        reply, exchange.predictions = score(exchange.served.model, exchange.question, exchange.id, exchange.served.seen)
        return reply


def _details(exchange: Exchange) -> Details | None:
    """Collect the fields that only some log lines have."""
    reply, span = exchange.reply, exchange.span
    error = reply.error if reply else None
    if error is None and span is None and exchange.user is None:
        return None
    return Details(error, span.trace_id if span else None, span.span_id if span else None, exchange.user)


def _score(served: Served, group: list[Exchange]) -> None:
    """Answer several requests to one release: together where they are lists of rows, else each by itself."""
    listed = [each for each in group if each.question and each.question.listed is not None]
    together = None
    if len(listed) > 1:
        questions = [each.question for each in listed if each.question]
        together = score_together(served.model, questions, [each.id for each in listed], served.seen)
    for exchange, (reply, predictions) in zip(listed, together or (), strict=False):
        exchange.reply, exchange.predictions = reply, predictions
    for exchange in group:
        if exchange.reply is None and exchange.question:
            exchange.reply, exchange.predictions = score(served.model, exchange.question, exchange.id, served.seen)
