"""Charts as plain geometry: what the templates draw as SVG, without a library and without a script."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MAX_POINTS = 240
"""Points that one chart draws; of more, evenly spaced ones, the first and the last among them."""


@dataclass(frozen=True)
class Measured:
    """A metric at one place of a series.

    Attributes
    ----------
    value, low, high : float or None
        None where undefined; a value without an interval has neither end.
    mark : str
        Why it stands out, such as the environment where it is live.
    link : str
        Where a click leads.
    """

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    mark: str = ""
    link: str = ""


@dataclass(frozen=True)
class Dot:
    """A value on a chart, with the ends of its whisker."""

    x: float
    y: float
    top: float | None
    bottom: float | None
    measured: Measured


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A series over an axis of its labels.

    Attributes
    ----------
    line, band : str
        Points of a polyline through the values, and of a polygon around the intervals.
    limits : tuple of Tick
        Bounds of the gate that lie within the chart.
    whiskers : bool
        Whether there are few enough points to draw each interval by itself.
    """

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    line: str
    band: str
    dots: tuple[Dot, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    limits: tuple[Tick, ...]
    whiskers: bool


@dataclass(frozen=True)
class Histogram:
    """Shares of rows in bins, then and now.

    Attributes
    ----------
    then : tuple of tuple of float
        Of each bar x, y, width and height.
    now : str
        Points of a line over the same bins.
    """

    width: int
    height: int
    then: tuple[tuple[float, float, float, float], ...]
    now: str


@dataclass(frozen=True)
class Spark:
    """A sparkline, as tall as a word, with its last value marked."""

    width: int
    height: int
    line: str
    x: float
    y: float


@dataclass(frozen=True)
class Pair:
    """Two intervals on one scale, the candidate's above the champion's."""

    width: int
    height: int
    candidate: Dot | None
    champion: Dot | None


def spark(values: Sequence[float | None], width: int = 112, height: int = 28) -> Spark | None:
    """Draw the course of a metric; None where fewer than two values are known."""
    known = thin([each for each in values if each is not None and math.isfinite(each)])
    if len(known) < 2:
        return None
    scale = _Scale(min(known), max(known), height - 4, 4)
    step = (width - 8) / (len(known) - 1)
    points = [(4 + place * step, scale(value)) for place, value in enumerate(known)]
    return Spark(width, height, _points(points), *_round(points[-1]))


def chart(
    series: Sequence[Measured], limits: Iterable[float] = (), width: int = 760, height: int = 220
) -> Chart | None:
    """Draw a metric with its intervals over releases or dates; None where no value is known."""
    known = thin([each for each in series if each.value is not None])
    if not known:
        return None
    left, right, top, bottom = 56.0, width - 16.0, 14.0, height - 30.0
    ends = [end for each in known for end in (each.value, each.low, each.high) if end is not None]
    ticks = nice_ticks(min(ends), max(ends))
    scale = _Scale(ticks[0], ticks[-1], bottom, top)
    step = (right - left) / max(1, len(known) - 1)
    start = left if len(known) > 1 else (left + right) / 2
    dots = tuple(_dot(start + place * step, each, scale) for place, each in enumerate(known))
    decimals = _decimals(ticks)
    return Chart(
        width=width, height=height, left=left, right=right, top=top, bottom=bottom,
        line=_points((dot.x, dot.y) for dot in dots) if len(dots) > 1 else "",
        band=_band(dots),
        dots=dots,
        across=tuple(Tick(dots[place].x, dots[place].measured.label) for place in _spread(len(dots), 7)),
        up=tuple(Tick(round(scale(tick), 1), f"{tick:.{decimals}f}") for tick in ticks),
        limits=tuple(Tick(round(scale(each), 1), f"{each:g}") for each in limits if ticks[0] <= each <= ticks[-1]),
        whiskers=len(dots) <= 40,
    )  # fmt: skip


def histogram(then: Sequence[float], now: Sequence[float], width: int = 200, height: int = 64) -> Histogram:
    """Draw shares then as bars, and shares now as a line of steps over them."""
    scale = _Scale(0, max([*then, *now, 1e-9]), height, 2)
    step = width / max(1, len(then))
    bars = tuple(
        (round(place * step, 1), round(scale(share), 1), round(step * 0.86, 1), round(height - scale(share), 1))
        for place, share in enumerate(then)
    )
    steps = [(x, scale(share)) for place, share in enumerate(now) for x in (place * step, (place + 0.86) * step)]
    return Histogram(width, height, bars, _points(steps))


def pair(candidate: Measured | None, champion: Measured | None, width: int = 200, height: int = 30) -> Pair | None:
    """Draw two estimates of one metric, so that one sees whether their intervals overlap."""
    ends = [
        end for each in (candidate, champion) if each for end in (each.value, each.low, each.high) if end is not None
    ]
    if not ends:
        return None
    scale = _Scale(min(ends), max(ends), 6, width - 6)

    def place(each: Measured | None, y: float) -> Dot | None:
        if each is None or each.value is None:
            return None
        low, high = (None if end is None else round(scale(end), 1) for end in (each.low, each.high))
        return Dot(round(scale(each.value), 1), y, low, high, each)

    return Pair(width, height, place(candidate, height * 0.3), place(champion, height * 0.75))


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Choose round numbers, evenly spaced, the first at most `low` and the last at least `high`."""
    span = (high - low) or abs(high) * 0.1 or 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * each for each in (1, 2, 2.5, 5, 10) if power * each >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, max(last, first + 1) + 1)]


def thin(items: Sequence[T]) -> list[T]:
    """Keep at most 240 items."""
    return [items[place] for place in _spread(len(items), MAX_POINTS)]


def _spread(length: int, count: int) -> list[int]:
    """Choose at most `count` places, evenly spaced, the first and the last among them."""
    if length <= count:
        return list(range(length))
    return sorted({round(place * (length - 1) / (count - 1)) for place in range(count)})


class _Scale:
    """A straight line from values to places."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._slope = (end - start) / (high - low) if high > low else 0.0
        self._middle = (start + end) / 2

    def __call__(self, value: float) -> float:
        return self._start + (value - self._low) * self._slope if self._slope else self._middle


def _dot(x: float, measured: Measured, scale: _Scale) -> Dot:
    assert measured.value is not None  # noqa: S101 - the caller keeps only known values
    top, bottom = (None if end is None else round(scale(end), 1) for end in (measured.high, measured.low))
    return Dot(round(x, 1), round(scale(measured.value), 1), top, bottom, measured)


def _band(dots: Sequence[Dot]) -> str:
    upper = [(dot.x, dot.top) for dot in dots if dot.top is not None]
    lower = [(dot.x, dot.bottom) for dot in dots if dot.bottom is not None]
    return _points([*upper, *reversed(lower)]) if len(upper) > 1 else ""


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _round(point: tuple[float, float]) -> tuple[float, float]:
    return round(point[0], 1), round(point[1], 1)


def _decimals(ticks: Sequence[float]) -> int:
    step = ticks[1] - ticks[0]
    return max(0, min(6, -math.floor(math.log10(step)) + (1 if f"{step:e}".startswith("2.5") else 0)))
