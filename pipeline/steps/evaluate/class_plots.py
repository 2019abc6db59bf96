"""Plots of a classifier: confusion, ROC, precision against recall, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from pipeline.steps.evaluate.plot_data import COLOURS, GREY, PlotData, add_legend, head, shorten, square, thin
from pipeline.steps.evaluate.sample import FloatArray

MAX_CURVES = len(COLOURS)
MAX_CELLS_SHOWN = 10  # classes up to which a confusion matrix carries numbers
MAX_LABELS = 20
BINS = 10


def has_classes(data: PlotData) -> bool:
    """Say whether there is a confusion to draw."""
    return data.evaluation.confusion is not None and len(data.sample) > 0


def has_curves(data: PlotData) -> bool:
    """Say whether any class has rows on both sides, and scores."""
    return has_classes(data) and bool(_one_versus_rest(data))


def draw_confusion(axes: Axes, data: PlotData) -> str:
    """Draw rows by true and predicted class; the colour is the share of the true class."""
    counts = np.array(data.evaluation.confusion)
    names = [shorten(each) for each in data.evaluation.classes or ()]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _label_classes(axes, names, names + ["not seen in training"] * (len(counts) - len(names)))
    if len(counts) <= MAX_CELLS_SHOWN:
        for (row, column), count in np.ndenumerate(counts):
            _write_cell(axes, row, column, int(count), float(shares[row, column]), size=11 if len(counts) < 5 else 7)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    return "Confusion: rows, and their share of the true class"


def _label_classes(axes: Axes, across: Sequence[str], down: Sequence[str]) -> None:
    step = -(-len(down) // MAX_LABELS)
    tilt = 20 if max(map(len, across)) * len(across[::step]) > 2 * MAX_LABELS else 0
    axes.set_xticks(range(0, len(across), step), across[::step], rotation=tilt, ha="right" if tilt else "center")
    axes.set_yticks(range(0, len(down), step), down[::step])
    axes.tick_params(labelsize=8)


def _write_cell(axes: Axes, row: int, column: int, count: int, share: float, size: int) -> None:
    colour = "white" if share > 0.55 else "black"
    axes.text(column, row, f"{count:,}\n{share:.0%}", ha="center", va="center", color=colour, fontsize=size)


def draw_roc(axes: Axes, data: PlotData) -> str:
    """Draw recall against the false positive rate."""
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="by chance")
    for colour, name, positive, scores in _one_versus_rest(data):
        hits, false = _count_above(positive, scores)
        points = thin(len(hits))
        axes.plot((false / false[-1])[points], (hits / hits[-1])[points], color=colour, linewidth=1.8, label=name)
    square(axes, "false positive rate", "true positive rate (recall)")
    add_legend(axes, "lower right")
    return head("ROC curve", data, "roc_auc", "area")


def draw_pr(axes: Axes, data: PlotData) -> str:
    """Draw precision against recall, and each class's share of the rows."""
    for colour, name, positive, scores in _one_versus_rest(data):
        hits, false = (each[1:] for each in _count_above(positive, scores))
        points = thin(len(hits))
        axes.step((hits / hits[-1])[points], (hits / (hits + false))[points], color=colour, linewidth=1.8, label=name)
        axes.axhline(positive.mean(), color=colour, linestyle=":", linewidth=1)
    square(axes, "recall", "precision (dotted: by chance)")
    add_legend(axes, "lower left")
    return head("Precision against recall", data, "pr_auc", "area")


def draw_calibration(axes: Axes, data: PlotData) -> str:
    """Draw what came true against what was predicted."""
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="perfectly calibrated")
    for colour, name, positive, scores in _one_versus_rest(data):
        said, happened = _bin(scores, positive)
        axes.plot(said, happened, color=colour, marker="o", markersize=5, linewidth=1.5, label=name)
    square(axes, f"predicted probability (mean of {BINS} equally large groups)", "share that came true")
    add_legend(axes, "lower right")
    return head("Calibration", data, "brier", "Brier score")


def _bin(scores: FloatArray, outcomes: npt.NDArray[Any]) -> tuple[list[float], list[float]]:
    """Compute the mean score and the mean outcome of groups of equally many rows, by score."""
    groups = [each for each in np.array_split(np.argsort(scores, kind="stable"), BINS) if each.size]
    return [float(scores[each].mean()) for each in groups], [float(outcomes[each].mean()) for each in groups]


def _one_versus_rest(data: PlotData) -> list[tuple[str, str, npt.NDArray[np.bool_], FloatArray]]:
    """Choose the classes to draw, the positive one or the most frequent ones: colour, name, truth and score of each."""
    sample, names = data.sample, data.evaluation.classes or ()
    if sample.probabilities is None:
        return []
    counts = [int((sample.truth == each).sum()) for each in range(sample.classes)]
    drawable = [each for each, count in enumerate(counts) if 0 < count < len(sample)]
    wanted = [each for each in drawable if each == 1 or not sample.binary]
    ranked = sorted(wanted, key=lambda each: -counts[each])[:MAX_CURVES]
    return [
        (colour, f"class {shorten(names[each])}", sample.truth == each, sample.probabilities[:, each])
        for colour, each in zip(COLOURS, ranked, strict=False)
    ]


def _count_above(positive: npt.NDArray[np.bool_], scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Count positives and negatives at or above each distinct score, from the highest; both begin with 0."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = np.cumsum(positive[order])[ends]
    return np.append(0.0, hits), np.append(0.0, ends + 1 - hits)
