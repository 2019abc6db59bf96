"""Fitting one model, and saying in the spec's words what went wrong."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.errors import DataError, TrainingError
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.steps.train.descent import descend
from pipeline.steps.train.neural.parameters import NETWORK_EXTRAS
from pipeline.steps.train.results import Array, Fitted
from pipeline.steps.train.rounds import fit_boosting, fit_histogram, fit_network
from pipeline.steps.train.task import Lesson, build_estimator, cast_features, predictor

# Classifiers that only separate; their margins become probabilities by Platt's method, as scikit-learn advises.
_CALIBRATED = frozenset({("ridge", "classification"), ("svm", "classification"), ("linear_svm", "classification")})
_FOLDS = 5


def fit(lesson: Lesson) -> Fitted:
    """Fit one model.

    Raises
    ------
    TrainingError
        The trainer refuses the parameters, or the training doesn't converge at all.
    DataError
        Rows that the trainer needs are missing.
    """
    if lesson.stop and not len(lesson.validation):
        raise DataError("train: found no validation rows; expected some for model.early_stopping (split.validation)")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fitted = _FITS.get(lesson.trainer, _fit_plain)(lesson)
        except (ValueError, TypeError, FloatingPointError, np.linalg.LinAlgError) as error:
            raise _explain(lesson, error) from error
    return replace(fitted, notes=(*fitted.notes, *_say(lesson.trainer, (each.message for each in caught))))


def _explain(lesson: Lesson, error: Exception) -> TrainingError:
    """Name the parameter that scikit-learn complains about, if it names one."""
    text = " ".join(str(error).split())
    named = [name for name in lesson.params if re.search(rf"\b{name}\b", text)]
    key = f"model.params.{named[0]}" if named else "model.params"
    return TrainingError(
        f"train: found with {lesson.trainer}: {text}; expected parameters that suit each other and the data ({key})"
    )


def _say(trainer: str, messages: Iterable[Any]) -> list[str]:
    """Make each kind of warning one note."""
    first = dict.fromkeys(" ".join(str(each).split("\n")[0].split()) for each in messages)
    return [f"{trainer}: {text}" for text in first]


def _fit_plain(lesson: Lesson) -> Fitted:
    if lesson.stop:
        raise TrainingError(f"model.early_stopping: found it with {lesson.trainer}; expected a trainer with rounds")
    estimator = build_estimator(lesson)
    if (lesson.trainer, lesson.task) in _CALIBRATED:
        estimator = _calibrated(lesson, estimator)
    weights = {} if lesson.train.weights is None else {"sample_weight": lesson.train.weights}
    estimator.fit(cast_features(lesson, lesson.train.features), lesson.train.target, **weights)
    return Fitted(estimator, predictor(lesson, estimator))


def _calibrated(lesson: Lesson, estimator: Any) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    rarest = _rarest(lesson.train.target)
    if rarest < 2:
        raise DataError(
            f"train: found a class with one training row; expected at least two of each for {lesson.trainer}, which "
            "needs them for probabilities (model.trainer, clean)"
        )
    return CalibratedClassifierCV(estimator, method="sigmoid", cv=min(_FOLDS, rarest), ensemble=False)


def _rarest(codes: Array) -> int:
    return int(np.bincount(codes).min())


def _fit_neighbors(lesson: Lesson) -> Fitted:
    count, rows = lesson.params["n_neighbors"], len(lesson.train)
    if count > rows:
        raise TrainingError(
            f"train: found {count} neighbours asked for and {rows} training rows; expected at most as many "
            "(model.params.n_neighbors)"
        )
    return _fit_plain(lesson)


def _fit_descent(lesson: Lesson) -> Fitted:
    return descend(lesson.train, lesson.validation, **lesson.params, stop=lesson.stop)


def _fit_xgboost(lesson: Lesson) -> Fitted:
    from pipeline.steps.train.boosting.fitting import fit_xgboost  # only where it is used

    return fit_xgboost(lesson)


def _fit_lightgbm(lesson: Lesson) -> Fitted:
    from pipeline.steps.train.boosting.fitting import fit_lightgbm  # only where it is used

    return fit_lightgbm(lesson)


def _fit_neural(lesson: Lesson) -> Fitted:
    from pipeline.steps.train.neural.fitting import fit_network as fit_neural  # only where it is used

    return fit_neural(lesson)


def _fit_elsewhere(lesson: Lesson) -> Fitted:
    from pipeline.steps.train.containers.fitting import fit_elsewhere  # only where it is used

    return fit_elsewhere(lesson)


_FITS: Mapping[str, Callable[[Lesson], Fitted]] = {
    "linear_regression": _fit_descent,
    "gradient_boosting": fit_boosting,
    "hist_gradient_boosting": fit_histogram,
    "k_neighbors": _fit_neighbors,
    "mlp": fit_network,
    "xgboost": _fit_xgboost,
    "lightgbm": _fit_lightgbm,
    "container": _fit_elsewhere,
    "mxnet": _fit_elsewhere,
    **{name: _fit_neural for name, info in TRAINERS.items() if info.extra in NETWORK_EXTRAS},
}
