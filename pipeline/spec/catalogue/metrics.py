"""Every metric: the tasks that it makes sense for, and which of two values is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.model.task import Task
from pipeline.spec.catalogue.trainers import CLASSIFICATION, REGRESSION


@dataclass(frozen=True)
class Metric:
    """What a metric measures.

    Attributes
    ----------
    tasks : frozenset of Task
        Tasks that it makes sense for.
    greater_is_better : bool
        False for errors and losses.
    reads : {"label", "probability", "value"}
        Which output of the model is compared with the truth.
    binary_only : bool
        True if it is not defined for more than two classes.
    """

    tasks: frozenset[Task]
    greater_is_better: bool
    reads: Literal["label", "probability", "value"]
    binary_only: bool = False


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(CLASSIFICATION, True, "label"),
    "precision": Metric(CLASSIFICATION, True, "label"),
    "recall": Metric(CLASSIFICATION, True, "label"),
    "f1": Metric(CLASSIFICATION, True, "label"),
    "roc_auc": Metric(CLASSIFICATION, True, "probability"),
    "pr_auc": Metric(CLASSIFICATION, True, "probability"),
    "log_loss": Metric(CLASSIFICATION, False, "probability"),
    "brier": Metric(CLASSIFICATION, False, "probability"),
    "mse": Metric(REGRESSION, False, "value"),
    "rmse": Metric(REGRESSION, False, "value"),
    "mae": Metric(REGRESSION, False, "value"),
    "r2": Metric(REGRESSION, True, "value"),
    "mape": Metric(REGRESSION, False, "value"),
}


DEFAULT_METRICS: Mapping[Task, tuple[str, ...]] = {
    "classification": ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss"),
    "regression": ("rmse", "mae", "r2"),
}
