"""Plots of an evaluation, as PNG.

Drawn with matplotlib's object-oriented interface: pyplot takes longer to import than all plots to draw, and keeps
global state. The same numbers give the same bytes. Colours are those of M. Okabe and K. Ito (2008), told apart by all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.steps.evaluate.class_plots import (
    draw_calibration,
    draw_confusion,
    draw_pr,
    draw_roc,
    has_classes,
    has_curves,
)
from pipeline.steps.evaluate.letters import OWN_FONT, fonts_for
from pipeline.steps.evaluate.plot_data import (
    BLUE,
    COLOURS,
    GREY,
    LIGHT,
    VERMILION,
    Losses,
    PlotData,
    add_legend,
    head,
    names_in,
    plain,
    shorten,
    thin,
)
from pipeline.steps.evaluate.results import Evaluation, Importances
from pipeline.steps.evaluate.sample import Prediction, Sample

MAX_DOTS = 3_000  # of a cloud
MAX_BARS = 20


def draw_plots(
    model: str,
    truth: npt.NDArray[Any],
    prediction: Prediction,
    evaluation: Evaluation,
    importances: Importances | None = None,
    losses: Losses | None = None,
) -> dict[str, bytes]:
    """Draw every plot that the task and the data allow.

    Parameters
    ----------
    model : str
        Name for the titles.
    truth, prediction, evaluation
        As given to and by ``evaluate``.
    importances : Importances or None
    losses : mapping of str to sequence of float, or None
        Name of a curve (``training``, ``validation``) → loss after each round.

    Returns
    -------
    dict of str to bytes
        Name (``confusion``, ``roc``, ``pr``, ``calibration``, ``predicted``, ``residuals``, ``importance``, ``loss``)
        → PNG.
    """
    usable = np.isfinite(np.asarray(truth, dtype=np.float64)) & _finite_rows(prediction)
    sample = Sample(truth[usable], prediction.take(usable))
    data = PlotData(model, sample, evaluation, importances, losses or {})
    with mpl.rc_context({"font.family": fonts_for(names_in(data))}):
        return {name: _draw(plot, data) for name, plot in _PLOTS.items() if plot.is_possible(data)}


def _finite_rows(prediction: Prediction) -> npt.NDArray[np.bool_]:
    finite: npt.NDArray[np.bool_] = np.isfinite(prediction.outputs)
    if prediction.probabilities is not None:
        finite = finite & np.isfinite(prediction.probabilities).all(axis=1)
    return finite


def _draw(plot: _Plot, data: PlotData) -> bytes:
    """Draw one plot on axes of its own."""
    figure = Figure(figsize=(5.6, 4.4), dpi=110, facecolor="white")
    axes = figure.add_axes((plot.left, plot.bottom, 0.96 - plot.left, 0.86 - plot.bottom))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)
    figure.text(0.02, 0.945, plot.draw(axes, data), fontsize=12, fontweight="bold", family=OWN_FONT)
    figure.text(0.02, 0.897, f"{plain(data.model)}, {plot.rows(data)}", fontsize=9, color=GREY)
    image = BytesIO()
    canvas = FigureCanvasAgg(figure)
    canvas.print_png(image, metadata={"Software": None}, pil_kwargs={"compress_level": 4})  # type: ignore[no-untyped-call]
    return image.getvalue()


def _residuals(axes: Axes, data: PlotData) -> str:
    errors = data.sample.errors
    low, high = np.quantile(errors, [0.005, 0.995])
    inside = errors[(errors >= low) & (errors <= high)]
    axes.hist(inside, bins=50, color=BLUE, edgecolor="white", linewidth=0.3)
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1)
    axes.axvline(errors.mean(), color=VERMILION, linewidth=1.5, label=f"mean {errors.mean():.4g}")
    axes.set_xlabel("true minus predicted value (the middle 99 %)")
    axes.set_ylabel("rows")
    add_legend(axes, "upper right")
    return "Residuals"


def _predicted(axes: Axes, data: PlotData) -> str:
    places = np.linspace(0, len(data.sample) - 1, min(len(data.sample), MAX_DOTS)).astype(int)
    truth, values = data.sample.truth[places], data.sample.prediction.outputs[places]
    low, high = float(min(truth.min(), values.min())), float(max(truth.max(), values.max()))
    axes.plot([low, high], [low, high], color=GREY, linestyle=":", linewidth=1, label="exactly right")
    faint = 0.25 if len(places) > 500 else 0.6
    axes.plot(values, truth, linestyle="", marker="o", markersize=3, color=BLUE, alpha=faint, markeredgewidth=0)
    axes.set_xlabel("predicted value")
    axes.set_ylabel("true value")
    add_legend(axes, "upper left")
    return head("Truth against prediction", data, "r2", "R²")


def _importance(axes: Axes, data: PlotData) -> str:
    found = data.importances or Importances("", 0)
    shown = found.columns[:MAX_BARS][::-1]
    colours = [BLUE if each.drop > 0 else LIGHT for each in shown]
    axes.barh([shorten(each.column) for each in shown], [each.drop for each in shown], color=colours, height=0.7)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"loss of {found.metric} when the column is shuffled")
    left_out = len(found.columns) - len(shown)
    return f"Importance of columns{f' (first {MAX_BARS} of {len(found.columns)})' if left_out else ''}"


def _loss(axes: Axes, data: PlotData) -> str:
    for colour, (name, curve) in zip(COLOURS, data.losses.items(), strict=False):
        points = thin(len(curve))
        marker = "o" if len(curve) == 1 else None
        values = np.asarray(curve, dtype=np.float64)[points]
        axes.plot(points + 1, values, color=colour, linewidth=1.8, marker=marker, label=plain(name))
    axes.set_xlabel("round")
    axes.set_ylabel("loss")
    axes.grid(color=LIGHT, linewidth=0.6)
    add_legend(axes, "upper right")
    return "Loss while training"


def _has_values(data: PlotData) -> bool:
    return data.evaluation.task == "regression" and len(data.sample) > 0


def _has_importances(data: PlotData) -> bool:
    return data.importances is not None and bool(data.importances.columns)


def _has_losses(data: PlotData) -> bool:
    return any(map(len, data.losses.values()))


def _count_test_rows(data: PlotData) -> str:
    return f"{len(data.sample):,} test rows"


def _count_importance_rows(data: PlotData) -> str:
    return f"{0 if data.importances is None else data.importances.rows:,} test rows"


def _name_losses(data: PlotData) -> str:
    return f"{' and '.join(map(plain, data.losses))} rows"


@dataclass(frozen=True)
class _Plot:
    """How one plot comes about.

    Attributes
    ----------
    draw : callable
        Draws on the axes and returns the head line.
    is_possible : callable
        Whether there is anything to draw.
    rows : callable
        Says which rows are shown.
    left, bottom : float
        Share of the width and height that labels take. Fixed, as a layout engine draws everything twice.
    """

    draw: Callable[[Axes, PlotData], str]
    is_possible: Callable[[PlotData], bool]
    rows: Callable[[PlotData], str] = _count_test_rows
    left: float = 0.13
    bottom: float = 0.13


_PLOTS: Mapping[str, _Plot] = {
    "confusion": _Plot(draw_confusion, has_classes, left=0.3, bottom=0.2),
    "roc": _Plot(draw_roc, has_curves),
    "pr": _Plot(draw_pr, has_curves),
    "calibration": _Plot(draw_calibration, has_curves),
    "predicted": _Plot(_predicted, _has_values, left=0.17),
    "residuals": _Plot(_residuals, _has_values, left=0.17),
    "importance": _Plot(_importance, _has_importances, _count_importance_rows, left=0.3),
    "loss": _Plot(_loss, _has_losses, _name_losses),
}
