"""JSON bodies as Python values."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

from pipeline.serving.rows.faults import NotFinite, RejectedError, shorten

_decode = msgspec.json.Decoder().decode


def parse(body: bytes | bytearray) -> Any:
    """Parse JSON; NaN, Infinity and numbers beyond float64 are kept apart, to be named by row and column later."""
    try:
        return _decode(body)
    except RecursionError:
        raise RejectedError(400, "the body is nested too deeply; expected rows of plain values") from None
    except UnicodeDecodeError as error:
        raise RejectedError(400, f"the body is not UTF-8: {error.reason} (byte {error.start})") from None
    except msgspec.DecodeError as error:
        return _parse_beyond_json(body, error)


def _parse_beyond_json(body: bytes | bytearray, error: msgspec.DecodeError) -> Any:
    malformed = RejectedError(400, f"the body is not JSON: {error}")
    if not isinstance(error, msgspec.ValidationError) and b"NaN" not in body and b"Infinity" not in body:
        raise malformed
    try:
        request = json.loads(body, parse_constant=NotFinite, parse_float=_parse_float)
        json.dumps(request, ensure_ascii=False, default=repr).encode()  # refuses lone surrogates
    except (ValueError, RecursionError):
        raise malformed from None
    return request


def _parse_float(literal: str) -> float | NotFinite:
    value = float(literal)
    return value if math.isfinite(value) else NotFinite(shorten(literal))
