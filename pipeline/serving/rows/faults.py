"""What is wrong with rows that cannot be used, and how to say it. The standard library is all that is imported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fault:
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
