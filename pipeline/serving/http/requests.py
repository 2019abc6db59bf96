"""The body of a request, as ASGI hands it over, within its limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, NoReturn

from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class GoneError(Exception):
    """The caller closed the connection before its request was complete."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, settings: Settings) -> bytes | bytearray:
    """Read the whole body.

    Raises
    ------
    RejectedError
        408 if it does not arrive in time, 413 if it is too large, 415 if it is compressed.
    GoneError
        If the caller left.
    """
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise RejectedError(415, "found a compressed body; expected one without content-encoding")
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message["body"]
        return body if len(body) <= settings.max_body_bytes else _refuse_size(settings.max_body_bytes)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            return await _read_stream(message, _declared_length(headers), receive, settings.max_body_bytes)
    except TimeoutError:
        expected = f"expected it within {settings.body_timeout_s:g} s"
        raise RejectedError(408, f"found an incomplete body; {expected}") from None


async def _read_stream(message: Message, declared: int, receive: Receive, limit: int) -> bytearray:
    """Read a body that comes in parts.

    One that is too large is read (and forgotten) up to four times the limit before it is refused: many clients
    send everything before they look at the answer, and would only see a broken connection.
    """
    if declared > 4 * limit:
        _refuse_size(limit)
    body, size = bytearray(), 0
    while True:
        if message["type"] == "http.disconnect":
            raise GoneError
        size += len(message["body"])
        if size <= limit:
            body += message["body"]
        elif size > 4 * limit:
            _refuse_size(limit)
        if not message.get("more_body"):
            return body if size <= limit else _refuse_size(limit)
        message = await receive()


def _refuse_size(limit: int) -> NoReturn:
    raise RejectedError(413, f"found a body of more than {limit} bytes; expected at most that (send fewer rows)")


def _declared_length(headers: Mapping[bytes, bytes]) -> int:
    value = headers.get(b"content-length", b"")
    return int(value) if value.isdigit() and len(value) < 20 else 0
