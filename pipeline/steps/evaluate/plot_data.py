"""What the plots have in common: what is drawn, in which colours, with which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.axes import Axes

from pipeline.steps.evaluate.letters import escape
from pipeline.steps.evaluate.results import Evaluation, Importances
from pipeline.steps.evaluate.sample import IntArray, Sample

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
GREY, LIGHT = "#666666", "#dddddd"
MAX_POINTS = 400  # of a curve
MAX_LETTERS = 20  # of a name

Losses: TypeAlias = Mapping[str, Sequence[float]]


@dataclass(frozen=True, eq=False)
class PlotData:
    """What there is to draw.

    Attributes
    ----------
    model : str
        Its name.
    """

    model: str
    sample: Sample
    evaluation: Evaluation
    importances: Importances | None
    losses: Losses


def thin(length: int) -> IntArray:
    """Choose at most 400 places, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, MAX_POINTS)).astype(np.int64))


def square(axes: Axes, across: str, up: str) -> None:
    """Set up axes on which both directions are shares."""
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=across, ylabel=up)
    axes.grid(color=LIGHT, linewidth=0.6)


def add_legend(axes: Axes, place: Literal["lower left", "lower right", "upper left", "upper right"]) -> None:
    """Name the curves."""
    axes.legend(loc=place, framealpha=0.85, edgecolor="none", fontsize=8)


def head(text: str, data: PlotData, metric: str, name: str) -> str:
    """Add the metric that the plot shows, where it was computed."""
    estimate = data.evaluation.metrics.get(metric)
    if estimate is None or estimate.value is None:
        return text
    span = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{text}: {name} {estimate.value:.3f}{span}"


def shorten(value: Any) -> str:
    """Write a value or a name in at most 20 letters."""
    text = escape(f"{value:g}" if isinstance(value, float) else str(value).replace("\n", " "))
    return plain(text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}…")


def plain(text: str) -> str:
    """Keep matplotlib from reading a name as a formula or as hidden, and from drawing a box for a letter."""
    return escape(text.replace("\n", " ")).replace("$", r"\$")


def names_in(data: PlotData) -> list[str]:
    """List the names that people gave and a plot may show."""
    columns = [] if data.importances is None else [each.column for each in data.importances.columns]
    return [data.model, *columns, *map(str, data.evaluation.classes or ())]
