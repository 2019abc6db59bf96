"""Fitting one model, and saying in the spec's words what went wrong."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.errors import DataError, TrainingError
from pipeline.spec.catalogue.trainers import NETWORK_EXTRAS, TRAINERS
from pipeline.steps.train.results import Array, Fitted
from pipeline.steps.train.task import FitRequest, build_estimator, cast_features, predictor

# Classifiers that only separate; their margins become probabilities by Platt's method, as scikit-learn advises.
_CALIBRATED = frozenset({("ridge", "classification"), ("svm", "classification"), ("linear_svm", "classification")})
_FOLDS = 5


def fit(request: FitRequest) -> Fitted:
    """Fit one model.

    Raises
    ------
    TrainingError
        The trainer refuses the parameters, or the training doesn't converge at all.
    DataError
        Rows that the trainer needs are missing.
    """
    if request.stop and not len(request.validation):
        raise DataError("train: found no validation rows; expected some for model.early_stopping (split.validation)")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fitted = _FITS.get(request.trainer, _fit_plain)(request)
        except (ValueError, TypeError, FloatingPointError, np.linalg.LinAlgError) as error:
            raise _explain(request, error) from error
    return replace(fitted, notes=(*fitted.notes, *_say(request.trainer, (each.message for each in caught))))


def _explain(request: FitRequest, error: Exception) -> TrainingError:
    """Name the parameter that scikit-learn complains about, if it names one."""
    text = " ".join(str(error).split())
    named = [name for name in request.params if re.search(rf"\b{name}\b", text)]
    key = f"model.params.{named[0]}" if named else "model.params"
    return TrainingError(
        f"train: found with {request.trainer}: {text}; expected parameters that suit each other and the data ({key})"
    )


def _say(trainer: str, messages: Iterable[Any]) -> list[str]:
    """Make each kind of warning one note."""
    first = dict.fromkeys(" ".join(str(each).split("\n")[0].split()) for each in messages)
    return [f"{trainer}: {text}" for text in first]


def _fit_plain(request: FitRequest) -> Fitted:
    if request.stop:
        raise TrainingError(f"model.early_stopping: found it with {request.trainer}; expected a trainer with rounds")
    estimator = build_estimator(request)
    if (request.trainer, request.task) in _CALIBRATED:
        estimator = _calibrated(request, estimator)
    weights = {} if request.train.weights is None else {"sample_weight": request.train.weights}
    estimator.fit(cast_features(request, request.train.features), request.train.target, **weights)
    return Fitted(estimator, predictor(request, estimator))


def _calibrated(request: FitRequest, estimator: Any) -> Any:
    from sklearn.calibration import CalibratedClassifierCV

    rarest = _rarest(request.train.target)
    if rarest < 2:
        raise DataError(
            f"train: found a class with one training row; expected at least two of each for {request.trainer}, which "
            "needs them for probabilities (model.trainer, clean)"
        )
    return CalibratedClassifierCV(estimator, method="sigmoid", cv=min(_FOLDS, rarest), ensemble=False)


def _rarest(codes: Array) -> int:
    return int(np.bincount(codes).min())


def _fit_neighbors(request: FitRequest) -> Fitted:
    count, rows = request.params["n_neighbors"], len(request.train)
    if count > rows:
        raise TrainingError(
            f"train: found {count} neighbours asked for and {rows} training rows; expected at most as many "
            "(model.params.n_neighbors)"
        )
    return _fit_plain(request)


def _fit_descent(request: FitRequest) -> Fitted:
    from pipeline.steps.train.descent import descend  # here and below: only where it is used

    return descend(request.train, request.validation, **request.params, stop=request.stop)


def _fit_boosting(request: FitRequest) -> Fitted:
    from pipeline.steps.train.rounds import fit_boosting

    return fit_boosting(request)


def _fit_histogram(request: FitRequest) -> Fitted:
    from pipeline.steps.train.rounds import fit_histogram

    return fit_histogram(request)


def _fit_network(request: FitRequest) -> Fitted:
    from pipeline.steps.train.rounds import fit_network

    return fit_network(request)


def _fit_xgboost(request: FitRequest) -> Fitted:
    from pipeline.steps.train.boosting.booster_fitting import fit_xgboost

    return fit_xgboost(request)


def _fit_lightgbm(request: FitRequest) -> Fitted:
    from pipeline.steps.train.boosting.booster_fitting import fit_lightgbm

    return fit_lightgbm(request)


def _fit_neural(request: FitRequest) -> Fitted:
    from pipeline.steps.train.neural.network_fitting import fit_network as fit_neural

    return fit_neural(request)


def _fit_elsewhere(request: FitRequest) -> Fitted:
    from pipeline.steps.train.containers.program_fitting import fit_elsewhere

    return fit_elsewhere(request)


_FITS: Mapping[str, Callable[[FitRequest], Fitted]] = {
    "linear_regression": _fit_descent,
    "gradient_boosting": _fit_boosting,
    "hist_gradient_boosting": _fit_histogram,
    "k_neighbors": _fit_neighbors,
    "mlp": _fit_network,
    "xgboost": _fit_xgboost,
    "lightgbm": _fit_lightgbm,
    "container": _fit_elsewhere,
    "mxnet": _fit_elsewhere,
    **{name: _fit_neural for name, info in TRAINERS.items() if info.extra in NETWORK_EXTRAS},
}
