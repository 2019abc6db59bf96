"""What goes back to a caller: status, body and headers, whatever the protocol."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec

from pipeline.serving.rows.faults import Fault, RejectedError

JSON = b"application/json"
Headers = tuple[tuple[bytes, bytes], ...]
encode = msgspec.json.Encoder().encode

_CLOSING = frozenset({408, 413})
"""After these the rest of the request may still be on its way, so the connection cannot be used again."""


class Refusal(msgspec.Struct, omit_defaults=True):
    """Body of every answer that is not a success."""

    error: str
    id: str | None = None
    problems: tuple[dict[str, Any], ...] = ()


class Reply(msgspec.Struct):
    """An answer, ready to be sent.

    Attributes
    ----------
    rows : int
        Rows that were predicted.
    error : str or None
        What the log says of it.
    close : bool
        Whether the connection ends with it.
    """

    status: int
    body: bytes
    headers: Headers = ()
    rows: int = 0
    error: str | None = None
    close: bool = False
    content_type: bytes = JSON


def refuse(error: RejectedError, prediction_id: str | None = None) -> Reply:
    """Build the answer to a request that cannot be answered."""
    body = encode(Refusal(str(error), prediction_id, tuple(map(_problem, error.faults))))
    headers: Headers = ((b"retry-after", b"%d" % error.retry_after_s),) if error.retry_after_s else ()
    if error.status == 401:
        headers += ((b"www-authenticate", b"Bearer"),)
    return Reply(error.status, body, headers, error=str(error)[:500], close=error.status in _CLOSING)


def _problem(fault: Fault) -> dict[str, Any]:
    return {name: value for name, value in asdict(fault).items() if value is not None}


def fail(error: Exception, prediction_id: str) -> Reply:
    """Build the answer for a failure of the model itself: the log says why, the answer does not."""
    found = f"{type(error).__name__}: {error}"[:500]
    return Reply(500, encode(Refusal("the model could not predict these rows", prediction_id)), error=found)


def content(status: int, value: Any) -> Reply:
    """Build an answer of a JSON document."""
    return Reply(status, encode(value))
