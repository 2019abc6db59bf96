"""A line of JSON for each prediction request, in the fields of the Elastic Common Schema.

Lines are put together on the event loop and written once a turn, without the logging module.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping

import msgspec

ECS_VERSION = "8.17.0"


class LogLine(msgspec.Struct, omit_defaults=True):
    """One line; ``event.duration`` is in nanoseconds, as ECS has it."""

    timestamp: str = msgspec.field(name="@timestamp")
    level: str = msgspec.field(name="log.level")
    message: str
    method: str = msgspec.field(name="http.request.method")
    path: str = msgspec.field(name="url.path")
    status: int = msgspec.field(name="http.response.status_code")
    duration: int = msgspec.field(name="event.duration")
    id: str = msgspec.field(name="http.request.id")
    model: str = msgspec.field(name="service.name")
    version: str = msgspec.field(name="service.version")
    labels: dict[str, str]
    rows: int = msgspec.field(name="modelrail.rows")
    error: str | None = msgspec.field(name="error.message", default=None)
    trace_id: str | None = msgspec.field(name="trace.id", default=None)
    span_id: str | None = msgspec.field(name="span.id", default=None)
    user: str | None = msgspec.field(name="user.name", default=None)
    dataset: str = msgspec.field(name="event.dataset", default="modelrail.serving")
    ecs: str = msgspec.field(name="ecs.version", default=ECS_VERSION)


_encode = msgspec.json.Encoder().encode
_ALWAYS = b',"event.dataset":"modelrail.serving","ecs.version":"%s"}\n' % ECS_VERSION.encode()
_TRACKS: Mapping[str, dict[str, str]] = {name: {"track": name} for name in ("live", "canary", "shadow")}


class Log:
    """Writes lines to a descriptor.

    A full disk or a closed pipe stops no prediction: what cannot be written is lost.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: list[bytes] = []
        self._second, self._stamp = 0, ""

    def now(self) -> str:
        """Give the time in UTC, to the millisecond."""
        moment = time.time()
        second = int(moment)
        if second != self._second:
            self._second, self._stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((moment - second) * 1000):03d}Z"

    def add(self, line: LogLine) -> None:
        """Take a line, to be written with the others of this turn of the event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(_encode(line)[:-1] + _ALWAYS)

    def flush(self) -> None:
        """Write what is waiting."""
        lines, self._lines = self._lines, []
        content = memoryview(b"".join(lines))
        with contextlib.suppress(OSError):
            while content:
                content = content[os.write(self._descriptor, content) :]


def labels_of(track: str) -> dict[str, str]:
    """Give the labels of a line; the same object each time."""
    return _TRACKS[track]


def level_of(status: int) -> str:
    """Give the level of an answer."""
    return "error" if status >= 500 else "warn" if status >= 400 else "info"
