"""Mistakes before they have a position, and the words that every message is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
Place = Literal["value", "key"]


@dataclass(frozen=True)
class Finding:
    """One mistake at a key of the spec.

    Attributes
    ----------
    path : tuple
        Keys and list indices from the top of the spec.
    found, expected : str
        As in `pipeline.errors.Problem`.
    at : {"value", "key"}
        What of the entry is wrong.
    offset : int
        Characters into the value, where the mistake is inside a text.
    """

    path: KeyPath
    found: str
    expected: str
    at: Place = "value"
    offset: int = 0
