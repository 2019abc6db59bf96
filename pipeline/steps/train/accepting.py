"""Rules of parameters that no library states itself, in the form of ``trainers.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Table = Mapping[str, Mapping[str, Any]]
"""Name of a parameter → its default, and what it accepts."""

Closed = Literal["left", "right", "both", "neither"]


def option(default: str, values: list[str]) -> dict[str, Any]:
    """Return the rule of one of some words."""
    return {"default": default, "accepts": [{"kind": "option", "values": values}]}


def number(default: float | None, low: float, closed: Closed = "left", high: float | None = None) -> dict[str, Any]:
    """Return the rule of a number; null is accepted where it is the default."""
    rules: list[dict[str, Any]] = [{"kind": "number", "low": low, "high": high, "closed": closed}]
    return {"default": default, "accepts": [*rules, {"kind": "none"}] if default is None else rules}


def integer(default: int | None, low: int | None, high: int | None = None) -> dict[str, Any]:
    """Return the rule of a whole number; both bounds are accepted, and null where it is the default."""
    closed = "left" if high is None else "both"
    rules: list[dict[str, Any]] = [{"kind": "integer", "low": low, "high": high, "closed": closed}]
    return {"default": default, "accepts": [*rules, {"kind": "none"}] if default is None else rules}


def sizes(default: list[int]) -> dict[str, Any]:
    """Return the rule of a list of whole numbers from 1."""
    return {"default": default, "accepts": [{"kind": "sizes"}]}


def flag(default: bool) -> dict[str, Any]:  # noqa: FBT001 - a cell of a table
    """Return the rule of true or false."""
    return {"default": default, "accepts": [{"kind": "boolean"}]}
