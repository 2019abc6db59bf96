"""The HTTP interface of the prediction server, as a plain ASGI application.

====================  =========================================================
``POST /api/predict`` rows in, predictions out
``GET /healthz``      the process is alive
``GET /readyz``       it takes requests: 503 while it drains
``GET /version``      which release this is, and what it was made from
``GET /metrics``      for Prometheus
``GET /``             what is served here
====================  =========================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from pipeline.serving.bodies import Fault, RejectedError
from pipeline.serving.metrics import Meter, Meters, exposition
from pipeline.serving.model import ServedModel

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_JSON = b"application/json"
_CLIENT_GONE = 499
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Limits:
    """What one request may cost.

    Attributes
    ----------
    body_bytes : int
        Largest body that is read; a larger one is answered 413.
    inline_bytes : int
        Largest body that is computed on the event loop; larger ones go to a thread, so that probes are answered.
    body_timeout_s : float
        Time within which the whole body must arrive.
    """

    body_bytes: int = 16 * 2**20
    inline_bytes: int = 16 * 2**10
    body_timeout_s: float = 30.0


class Answer(msgspec.Struct, omit_defaults=True):
    """Body of a prediction."""

    outputs: list[Any]
    model: str
    version: str
    id: str
    probabilities: list[list[float]] | None = None


class Refusal(msgspec.Struct, omit_defaults=True):
    """Body of every answer that is not a success."""

    error: str
    id: str | None = None
    problems: tuple[Fault, ...] = ()


class LogLine(msgspec.Struct, omit_defaults=True):
    """One line of the log, for one prediction request; ``ms`` is the time to answer in milliseconds."""

    ts: datetime
    status: int
    ms: float
    rows: int
    id: str
    version: str
    error: str | None = None


@dataclass(frozen=True)
class _Reply:
    status: int
    body: bytes
    rows: int = 0
    error: str | None = None
    close: bool = False


class _GoneError(Exception):
    """The caller closed the connection before its request was complete."""


class Application:
    """Answers requests with one model, which can be exchanged while it runs.

    A request is answered by the model that was live when it arrived, to its end.
    """

    def __init__(self, model: ServedModel, meters: Meters, limits: Limits | None = None, log_fd: int = 1) -> None:
        self._model, self._meter = model, meters.of(model.model, model.version)
        self._meters = meters
        self._limits = limits or Limits()
        self._log_fd = log_fd
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="large-bodies")
        self.draining = False
        self._routes: Mapping[str, Mapping[str, Callable[[Message, Receive, Send], Awaitable[None]]]] = {
            "/api/predict": {"POST": self._predict},
            "/healthz": self._get(lambda: (200, {"status": "alive"})),
            "/readyz": self._get(self._readiness),
            "/version": self._get(lambda: (200, self._release())),
            "/": self._get(lambda: (200, self._index())),
            "/metrics": {"GET": self._metrics, "HEAD": self._metrics},
        }

    @property
    def model(self) -> ServedModel:
        """The model that answers new requests."""
        return self._model

    def swap(self, model: ServedModel) -> None:
        """Answer all requests from now on with `model`."""
        self._model, self._meter = model, self._meters.of(model.model, model.version)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI wants it."""
        if scope["type"] != "http":
            return
        route = self._routes.get(scope["path"])
        if route is None:
            message = f"found no {scope['path'][:100]}; expected one of {', '.join(self._routes)}"
            await self._send(send, 404, _encode(Refusal(message)))
            return
        handle = route.get(scope["method"])
        if handle is None:
            allowed = ", ".join(route)
            refusal = _encode(Refusal(f"{scope['path']}: found {scope['method']}; expected {allowed}"))
            await self._send(send, 405, refusal, (b"allow", allowed.encode()))
            return
        await handle(scope, receive, send)

    async def _predict(self, scope: Message, receive: Receive, send: Send) -> None:
        started = perf_counter()
        model, meter, request_id = self._model, self._meter, os.urandom(16).hex()
        meter.begin()
        status, rows, error = _CLIENT_GONE, 0, None
        try:
            reply = await self._reply(model, scope, receive, request_id)
            rows, error = reply.rows, reply.error
            headers = [(b"x-model-version", model.version.encode()), (b"x-prediction-id", request_id.encode())]
            if reply.close:
                headers.append((b"connection", b"close"))
            await self._send(send, reply.status, reply.body, *headers)
            status = reply.status
        except _GoneError:
            pass
        finally:
            self._record(meter, status, perf_counter() - started, rows, request_id, model.version, error)

    async def _reply(self, model: ServedModel, scope: Message, receive: Receive, request_id: str) -> _Reply:
        try:
            body = await self._read_body(scope, receive)
            if len(body) <= self._limits.inline_bytes:
                return _respond(model, body, request_id)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, _respond, model, body, request_id)
        except RejectedError as error:
            return _refuse(error, request_id)

    async def _read_body(self, scope: Message, receive: Receive) -> bytes | bytearray:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            body: bytes = message["body"]
            return body if len(body) <= self._limits.body_bytes else self._refuse_size()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                return await self._read_stream(message, scope, receive)
        except TimeoutError:
            expected = f"expected it within {self._limits.body_timeout_s:g} s"
            raise RejectedError(408, f"found an incomplete body; {expected}") from None

    async def _read_stream(self, message: Message, scope: Message, receive: Receive) -> bytearray:
        """Read a body that comes in parts.

        One that is too large is read (and forgotten) up to four times the limit before it is refused: many clients
        send everything before they look at the answer, and would only see a broken connection.
        """
        limit = self._limits.body_bytes
        if _declared_length(scope) > 4 * limit:
            self._refuse_size()
        body, size = bytearray(), 0
        while True:
            if message["type"] == "http.disconnect":
                raise _GoneError
            size += len(message["body"])
            if size <= limit:
                body += message["body"]
            elif size > 4 * limit:
                self._refuse_size()
            if not message.get("more_body"):
                return body if size <= limit else self._refuse_size()
            message = await receive()

    def _refuse_size(self) -> Any:
        limit = self._limits.body_bytes
        raise RejectedError(413, f"found a body of more than {limit} bytes; expected at most that (send fewer rows)")

    def _record(
        self, meter: Meter, status: int, seconds: float, rows: int, request_id: str, version: str, error: str | None
    ) -> None:
        meter.end(status, seconds)
        line = LogLine(datetime.now(UTC), status, round(seconds * 1000, 3), rows, request_id, version, error)
        with contextlib.suppress(OSError):  # a full disk or a closed pipe must not stop predictions
            os.write(self._log_fd, _encode(line) + b"\n")

    async def _send(self, send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        fixed = [(b"content-type", _JSON), (b"content-length", str(len(body)).encode())]
        closing = [(b"connection", b"close")] if self.draining else []
        await send({"type": "http.response.start", "status": status, "headers": [*fixed, *headers, *closing]})
        await send({"type": "http.response.body", "body": body})

    def _get(self, content: Callable[[], tuple[int, Any]]) -> Mapping[str, Callable[..., Awaitable[None]]]:
        async def handle(_scope: Message, _receive: Receive, send: Send) -> None:
            status, body = content()
            await self._send(send, status, _encode(body))

        return {"GET": handle, "HEAD": handle}

    async def _metrics(self, scope: Message, _receive: Receive, send: Send) -> None:
        accept = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"accept"), "")
        body, content_type = await asyncio.to_thread(exposition, self._meters, accept)
        headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _readiness(self) -> tuple[int, Any]:
        return (503, {"status": "draining"}) if self.draining else (200, {"status": "ready"})

    def _release(self) -> dict[str, Any]:
        return {key: value for key, value in self._model.release.items() if key != "files"}

    def _index(self) -> dict[str, Any]:
        signature = self._model.signature
        return {
            "model": self._model.model,
            "version": self._model.version,
            "task": signature.task,
            "inputs": [{"name": each.name, "type": each.type, "nullable": each.nullable} for each in signature.inputs],
            "classes": signature.classes,
            "example": {"inputs": [signature.example]},
            "endpoints": {path: " ".join(methods) for path, methods in self._routes.items()},
        }


def _respond(model: ServedModel, body: bytes | bytearray, request_id: str) -> _Reply:
    """Compute the whole answer; safe in any thread."""
    try:
        rows = model.reader.read(body)
        answer = Answer([], model.model, model.version, request_id)
        if rows.count:
            predictions = model.predict(rows.numbers, rows.texts)
            _refuse_overflow(predictions.values)
            answer.outputs = model.outputs(predictions)
            if rows.probabilities and predictions.probabilities is not None:
                answer.probabilities = np.asarray(predictions.probabilities, dtype=np.float64).tolist()
        return _Reply(200, _encode(answer), rows.count)
    except RejectedError as error:
        return _refuse(error, request_id)
    except Exception as error:  # noqa: BLE001  # the graph failed on these rows: the caller and the log learn of it
        found = f"{type(error).__name__}: {error}"[:500]
        return _Reply(500, _encode(Refusal("the model could not predict these rows", request_id)), error=found)


def _refuse_overflow(values: NDArray[Any]) -> None:
    """Refuse to answer "null", which is all that JSON has for a number without end."""
    if not (finite := np.isfinite(values)).all():
        row = int(np.argmin(finite))
        fault = Fault("values too large to compute with", "values like those the model was trained on", row)
        raise RejectedError(422, str(fault), [fault])


def _refuse(error: RejectedError, request_id: str) -> _Reply:
    body = _encode(Refusal(str(error), request_id, error.faults))
    return _Reply(error.status, body, error=str(error)[:500], close=error.status in {408, 413})


def _declared_length(scope: Message) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(value) if value.isdigit() else 0
