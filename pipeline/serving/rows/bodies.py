"""JSON bodies as Python values, and what to say of one that cannot be used."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

_decode = msgspec.json.Decoder().decode


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing in a body that does not fit the signature; ``row`` counts from 0."""

    found: str
    expected: str
    row: int | None = None
    column: str | None = None

    def __str__(self) -> str:
        row = [] if self.row is None else [f"row {self.row}"]
        column = [] if self.column is None else [f"column '{self.column}'"]
        return f"{', '.join(row + column) or 'body'}: found {self.found}; expected {self.expected}"


class RejectedError(Exception):
    """The request cannot be answered; carries the HTTP status and what the caller should change.

    Where trying again helps, ``retry_after_s`` says when.
    """

    def __init__(self, status: int, message: str, faults: Sequence[Fault] = (), retry_after_s: int = 0) -> None:
        self.status = status
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s
        super().__init__(message)


@dataclass(frozen=True)
class NotFinite:
    """A number that JSON or float64 does not have: NaN, Infinity, 1e999."""

    literal: str


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


_DESCRIPTIONS: Mapping[type, Callable[[Any], str]] = {
    type(None): lambda _: "null",
    bool: lambda value: str(value).lower(),
    str: lambda value: f"the text '{shorten(value)}'",
    int: lambda value: f"the number {value if abs(value) < 10**20 else 'beyond 1e20'}",
    float: lambda value: f"the number {value!r}",
    list: lambda _: "an array",
    dict: lambda _: "an object",
    NotFinite: lambda value: value.literal,
}


def describe(value: Any) -> str:
    """Say what a value is, as its sender wrote it."""
    return _DESCRIPTIONS.get(type(value), repr)(value)


def shorten(text: str) -> str:
    """Cut a text so that it fits into a message."""
    return text if len(text) <= 40 else f"{text[:39]}…"
