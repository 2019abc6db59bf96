"""Numbers, spans and moments in the pages' words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pipeline.messages import count

_UNITS = ((86_400 * 365, "year"), (86_400 * 30, "month"), (86_400, "day"), (3_600, "hour"), (60, "minute"))


def short_seconds(seconds: float | None) -> str:
    """Write a duration in three digits or so."""
    if seconds is None:
        return ""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def number(value: float | None) -> str:
    """Write a metric with four digits."""
    return "undefined" if value is None else f"{value:.4g}"


def span(estimate: Mapping[str, float | None]) -> str:
    """Write an interval; empty where there is none."""
    low, high = estimate.get("low"), estimate.get("high")
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def span_of(keys: Sequence[str]) -> str:
    """Name one key, or the first and the last of many."""
    if not keys:
        return ""
    return keys[0] if len(keys) == 1 else f"{keys[0]} … {keys[-1]}"


def moment(date: datetime | None) -> str:
    """Write a moment to the minute, in UTC."""
    return f"{date.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if date else ""


def ago(date: datetime | None, now: datetime) -> str:
    """Say how long ago something was, in the largest unit that fits."""
    if date is None:
        return ""
    seconds = (now - date).total_seconds()
    if seconds < 60:
        return "just now"
    length, unit = next((length, unit) for length, unit in _UNITS if seconds >= length)
    return f"{count(int(seconds // length), unit)} ago"


def size(amount: float) -> str:
    """Write bytes in MB or GB."""
    return f"{amount / 1e9:.2f} GB" if amount >= 1e9 else f"{amount / 1e6:.0f} MB"
