"""What one fit is asked to do, and the estimator that it starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.model.task import Task
from pipeline.spec.catalogue.parameters import parameters_of
from pipeline.spec.schema.spec import EarlyStopping
from pipeline.steps.train.estimators import estimator_class
from pipeline.steps.train.results import NO_SUPPORT, Array, Predict, Support
from pipeline.steps.train.targets import Rows

# These read float32 as it is; the others compute in the precision that they are given.
_SINGLE = frozenset({"decision_tree", "random_forest", "extra_trees", "gradient_boosting", "hist_gradient_boosting"})
_PARALLEL = frozenset({"random_forest", "extra_trees", "k_neighbors"})


@dataclass(frozen=True)
class FitRequest:
    """One model to fit.

    Attributes
    ----------
    params : mapping
        Every parameter of the trainer (`effective_params`).
    columns : tuple of str
        Names of the features.
    stop : EarlyStopping or None
        Rule by which the validation rows end a training in rounds.
    support : Support
        For long trainings: checkpoints, and who is told of the losses meanwhile.
    classes : tuple or None
        What the class indices stand for; None in regression.
    """

    trainer: str
    task: Task
    params: Mapping[str, Any]
    train: Rows
    validation: Rows
    seed: int = 0
    columns: tuple[str, ...] = ()
    stop: EarlyStopping | None = None
    support: Support = NO_SUPPORT
    classes: tuple[Any, ...] | None = None


def effective_params(trainer: str, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter of a trainer: the given ones, else the defaults."""
    return {name: given.get(name, each["default"]) for name, each in parameters_of(trainer, task).items()}


def build_estimator(request: FitRequest, **further: Any) -> Any:
    """Make the estimator of scikit-learn, not fitted yet."""
    kind = estimator_class(request.trainer, request.task)
    accepted = kind._parameter_constraints  # noqa: SLF001  (cheaper than an instance's get_params)
    if "random_state" in accepted:
        further = {"random_state": request.seed, **further}
    if request.trainer in _PARALLEL:
        further["n_jobs"] = os.cpu_count()
    return kind(**request.params, **further)


def cast_features(request: FitRequest, features: Array) -> Array:
    """Return features in the precision that the trainer computes in."""
    return features if request.trainer in _SINGLE else features.astype(np.float64)


def predictor(request: FitRequest, estimator: Any) -> Predict:
    """Return the function that predicts values or probabilities, in float64."""
    method = estimator.predict_proba if request.task == "classification" else estimator.predict

    def predict(features: Array) -> Array:
        return np.asarray(method(cast_features(request, features)), dtype=np.float64)

    return predict
