"""A line of JSON for each prediction request, in the fields of the Elastic Common Schema.

Lines are assembled on the event loop and written once a turn, without the logging module. What is the same in many
lines is encoded once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from functools import lru_cache

import msgspec

ECS_VERSION = "8.17.0"

_encode = msgspec.json.Encoder().encode
_LINE = b'{"@timestamp":"%b","event.duration":%d,"http.request.id":%b,"modelrail.rows":%d,%b'


class _Event(msgspec.Struct):
    level: str = msgspec.field(name="log.level")
    message: str
    method: str = msgspec.field(name="http.request.method")
    path: str = msgspec.field(name="url.path")
    status: int = msgspec.field(name="http.response.status_code")
    model: str = msgspec.field(name="service.name")
    version: str = msgspec.field(name="service.version")
    labels: dict[str, str]
    dataset: str = msgspec.field(name="event.dataset", default="modelrail.serving")
    ecs: str = msgspec.field(name="ecs.version", default=ECS_VERSION)


class Details(msgspec.Struct, omit_defaults=True):
    """Fields that only few lines have."""

    error: str | None = msgspec.field(name="error.message", default=None)
    trace_id: str | None = msgspec.field(name="trace.id", default=None)
    span_id: str | None = msgspec.field(name="span.id", default=None)
    user: str | None = msgspec.field(name="user.name", default=None)


@lru_cache(64)  # few, since a path is the caller's choice, and may be long
def event(path: str, status: int, model: str, version: str, track: str) -> bytes:
    """Encode what does not differ from request to request: the end of a line."""
    level = "error" if status >= 500 else "warn" if status >= 400 else "info"
    found = _Event(level, f"POST {path} {status}", "POST", path, status, model, version, {"track": track})
    return _encode(found)[1:] + b"\n"


class Log:
    """Writes lines to a descriptor.

    A full disk or a closed pipe stops no prediction: what cannot be written is lost.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._second, self._stamp, self._now = 0, b"", b""

    def _moment(self) -> bytes:
        """Write the time in UTC, to the millisecond."""
        moment = time.time()
        second = int(moment)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
        return b"%b.%03dZ" % (self._stamp, (moment - second) * 1000)

    def add(self, ending: bytes, request: str, seconds: float, rows: int, details: Details | None = None) -> None:
        """Add a line, to be written with the others of this turn of the event loop.

        Parameters
        ----------
        ending : bytes
            What `event` gave.
        request : str
            The prediction id.
        seconds : float
            What the answer took; in the line it is nanoseconds, as ECS has it.
        """
        if details is not None:
            ending = b"%b,%b" % (_encode(details)[1:-1], ending)
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
            self._now = self._moment()  # of all lines of this turn
        self._lines.append(_LINE % (self._now, seconds * 1e9, _encode(request), rows, ending))

    def flush(self) -> None:
        """Write what is waiting."""
        lines, self._lines = self._lines, []
        content = memoryview(b"".join(lines))
        with contextlib.suppress(OSError):
            while content:
                content = content[os.write(self._descriptor, content) :]
