"""W3C trace context: accepted, passed on, and sent to an OpenTelemetry collector if one is set.

Spans go out as OTLP in JSON over HTTP, in batches, from a thread; a collector that is slow or gone loses spans, not
predictions.
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.serving.scoring.answers import encode

_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_MAX_WAITING = 4096
_BATCH = 512
_PAUSE_S = 1.0
_TIMEOUT_S = 5.0
_SERVER, _OK, _ERROR = 2, 1, 2


@dataclass(slots=True)
class Span:
    """The part of a trace that this server has."""

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool

    def header(self) -> bytes:
        """Write the ``traceparent`` of what follows."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}".encode()


def span_of(headers: Mapping[bytes, bytes], *, begin: bool) -> Span | None:
    """Continue the caller's trace; without one, begin a trace if asked to."""
    given = headers.get(b"traceparent")
    if given is None and not begin:
        return None
    match = _PARENT.fullmatch(given) if given else None
    if match and match[1] != b"0" * 32 and match[2] != b"0" * 16:
        return Span(match[1].decode(), os.urandom(8).hex(), match[2].decode(), bool(int(match[3], 16) & 1))
    return Span(os.urandom(16).hex(), os.urandom(8).hex(), "", True) if begin else None


class Exporter:
    """Sends finished spans to a collector."""

    def __init__(self, endpoint: str) -> None:
        self._url = urlsplit(endpoint.rstrip("/") + "/v1/traces")
        self._waiting: queue.Queue[dict[str, object]] = queue.Queue(_MAX_WAITING)
        threading.Thread(target=self._send_for_ever, name="spans", daemon=True).start()

    def add(self, span: Span, name: str, seconds: float, status: int, facts: Mapping[str, str | int]) -> None:
        """Add a span that has just ended."""
        if not span.sampled:
            return
        end = time.time_ns()
        record = {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "parentSpanId": span.parent_id,
            "name": name,
            "kind": _SERVER,
            "startTimeUnixNano": str(end - int(seconds * 1e9)),
            "endTimeUnixNano": str(end),
            "attributes": [_attribute(key, value) for key, value in facts.items()],
            "status": {"code": _ERROR if status >= 500 else _OK},
        }
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            return

    def _send_for_ever(self) -> None:
        while True:
            batch = [self._waiting.get()]
            deadline = time.monotonic() + _PAUSE_S
            while len(batch) < _BATCH and (left := deadline - time.monotonic()) > 0:
                try:
                    batch.append(self._waiting.get(timeout=left))
                except queue.Empty:
                    break
            self._send(batch)

    def _send(self, spans: list[dict[str, object]]) -> None:
        import http.client

        scope = {"scope": {"name": "modelrail.serving"}, "spans": spans}
        resource = {"attributes": [_attribute("service.name", "modelrail")]}
        body = encode({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]})
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=_TIMEOUT_S)
        try:
            connection.request("POST", self._url.path, body, {"content-type": "application/json"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def _attribute(key: str, value: str | int) -> dict[str, object]:
    return {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
