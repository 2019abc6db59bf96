"""A walk-forward evaluation as a plot: what a model would have been worth at each date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.steps.evaluate.plot_data import BLUE, GREY, LIGHT, plain

MAX_CURVES = 6


@dataclass(frozen=True)
class Point:
    """A metric as of a date, with its interval where there is one."""

    as_of: date
    value: float
    low: float | None = None
    high: float | None = None


def draw_walk_forward(model: str, commit: str, curves: Mapping[str, Sequence[Point]], spec_commit: str = "") -> bytes:
    """Draw each metric over the as-of dates, below each other, as PNG.

    Parameters
    ----------
    commit : str
        The data commit that all dates saw.
    curves : mapping
        Metric → its points, by date; the first six are drawn.
    spec_commit : str
        The commit of the spec that all dates ran.
    """
    shown = dict(list(curves.items())[:MAX_CURVES])
    height = 0.9 + 1.7 * max(1, len(shown))
    figure = Figure(figsize=(7.2, height), dpi=110, facecolor="white")
    figure.text(0.02, 1 - 0.32 / height, "Walk-forward evaluation", fontsize=12, fontweight="bold")
    spec = f", spec commit {spec_commit[:10]}" if spec_commit else ""
    figure.text(0.02, 1 - 0.58 / height, f"{plain(model)}, data commit {commit[:10]}{spec}", fontsize=9, color=GREY)
    for place, (name, points) in enumerate(shown.items()):
        bottom = 1 - (0.8 + 1.7 * (place + 1) - 0.35) / height
        _draw_curve(figure.add_axes((0.13, bottom, 0.83, 1.25 / height)), name, points)
    image = BytesIO()
    FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return image.getvalue()


def _draw_curve(axes: Axes, name: str, points: Sequence[Point]) -> None:
    days = [each.as_of.isoformat() for each in points]
    lows = [each.value if each.low is None else each.low for each in points]
    highs = [each.value if each.high is None else each.high for each in points]
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LIGHT, linewidth=0.6)
    axes.fill_between(days, lows, highs, color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(days, [each.value for each in points], color=BLUE, marker="o", markersize=4, linewidth=1.6)
    axes.set_ylabel(plain(name), fontsize=9)
    axes.tick_params(labelsize=8)
    axes.set_xticks(days[:: -(-len(days) // 8)])
