"""Fitting what learns in rounds, with the validation rows watching."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from pipeline.errors import TrainingError
from pipeline.spec.schema.spec import EarlyStopping
from pipeline.steps.train.results import Array, Fitted
from pipeline.steps.train.stopping import Patience
from pipeline.steps.train.targets import Rows
from pipeline.steps.train.task import FitRequest, build_estimator, predictor

# For the curves of the training and the validation loss, some rows are enough.
_CURVE_ROWS = 1000
_NAMED_LOSSES = frozenset({"log_loss", "squared_error"})


def _history(losses: Iterable[Any], judged: Iterable[Any], first: int = 1) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"step": step, "loss": float(loss), "validation_loss": None if each is None else float(each)}
        for step, (loss, each) in enumerate(zip(losses, judged, strict=False), start=first)
        if loss is not None
    )


def _rounds(done: int, asked: int) -> tuple[str, ...]:
    return (f"stopped after {done:,} of {asked:,} rounds",) if done < asked else ()


def fit_histogram(request: FitRequest) -> Fitted:
    """Fit histogram gradient boosting; scikit-learn itself stops it on the validation rows."""
    stop, judge = request.stop, request.validation
    rules: dict[str, Any] = {"early_stopping": False}
    judged: dict[str, Any] = {}
    if stop:
        rules = {"early_stopping": True, "n_iter_no_change": stop.patience, "tol": stop.min_improvement}
        judged = {"X_val": judge.features, "y_val": judge.target, "sample_weight_val": judge.weights}
    estimator = build_estimator(request, **rules)
    estimator.fit(request.train.features, request.train.target, sample_weight=request.train.weights, **judged)
    if stop:  # scikit-learn's scores are minus the loss, from before the first round
        history = _history(-estimator.train_score_, -estimator.validation_score_, first=0)
    else:
        history = _history(_staged_losses(request, estimator, request.train), _staged_losses(request, estimator, judge))
    notes = _rounds(estimator.n_iter_, request.params["max_iter"])
    return Fitted(estimator, predictor(request, estimator), history, notes)


def _staged_losses(request: FitRequest, estimator: Any, rows: Rows) -> Sequence[float | None]:
    """Return the loss on some of the rows after each round; None without rows, or where the loss has no name here."""
    if not len(rows) or request.params["loss"] not in _NAMED_LOSSES:
        return [None] * estimator.n_iter_
    some = rows.take(np.linspace(0, len(rows) - 1, min(len(rows), _CURVE_ROWS)).astype(np.int64))
    classifies = request.task == "classification"
    staged = (estimator.staged_predict_proba if classifies else estimator.staged_predict)(some.features)
    return [_loss(each, some) for each in staged]


class _Watch:
    """Keeps the scores of the validation rows up to date, one stage's trees at a time."""

    def __init__(self, rows: Rows, stop: EarlyStopping | None) -> None:
        self.rows = rows
        self.patience = Patience(stop) if stop else None
        self.losses: list[float] = []
        self.scores: Array = np.zeros(0)

    def __call__(self, stage: int, model: Any, _: Mapping[str, Any]) -> bool:
        """Tell scikit-learn whether to stop after a stage."""
        if not stage:
            self.scores = model._raw_predict_init(self.rows.features)  # noqa: SLF001
        for target, tree in enumerate(model.estimators_[stage]):
            self.scores[:, target] += model.learning_rate * tree.predict(self.rows.features)
        self.losses.append(self._loss(model))
        return self.patience is not None and self.patience.is_over(self.losses[-1])

    def _loss(self, model: Any) -> float:
        """Return the model's own loss, scaled as its ``train_score_``: half losses count twice."""
        raw = self.scores if self.scores.shape[1] > 1 else self.scores[:, 0]
        target = self.rows.target.astype(np.float64)
        loss = model._loss(y_true=target, raw_prediction=raw, sample_weight=self.rows.weights)  # noqa: SLF001
        return float(loss) * (2.0 if self.scores.shape[1] == 1 and model.loss in _HALVES else 1.0)


_HALVES = frozenset({"squared_error", "log_loss"})


def fit_boosting(request: FitRequest) -> Fitted:
    """Fit gradient boosting, stage by stage under watch."""
    estimator = build_estimator(request)
    watch = _Watch(request.validation, request.stop) if len(request.validation) else None
    estimator.fit(request.train.features, request.train.target, request.train.weights, monitor=watch)
    history = _history(estimator.train_score_, watch.losses if watch else repeat(None))
    notes = _rounds(len(estimator.estimators_), request.params["n_estimators"])
    return Fitted(estimator, predictor(request, estimator), history, notes)


def fit_network(request: FitRequest) -> Fitted:
    """Fit a multi-layer perceptron; with early stopping, epoch by epoch."""
    train = Rows(request.train.features.astype(np.float64), request.train.target, request.train.weights)
    if request.stop is None:
        estimator = build_estimator(request).fit(train.features, train.target, train.weights)
        history = _history(getattr(estimator, "loss_curve_", []), repeat(None))
        return Fitted(estimator, predictor(request, estimator), history)
    if request.params["solver"] == "lbfgs":
        raise TrainingError("model.params.solver: found lbfgs with model.early_stopping; expected adam or sgd")
    # A state instead of a seed: each epoch goes on with the next shuffle instead of repeating the first.
    estimator = build_estimator(request, random_state=np.random.RandomState(request.seed))
    return _fit_epochs(request, estimator, train, Patience(request.stop))


def _fit_epochs(request: FitRequest, estimator: Any, train: Rows, patience: Patience) -> Fitted:
    """Train epoch by epoch and go back to the weights that were best on the validation rows."""
    predict = predictor(request, estimator)
    first = {"classes": np.unique(train.target)} if request.task == "classification" else {}
    losses, judged = [], []
    best: tuple[list[Array], list[Array]] = ([], [])
    for epoch in range(1, estimator.max_iter + 1):
        estimator.partial_fit(
            train.features, train.target, sample_weight=train.weights, **(first if epoch == 1 else {})
        )
        losses.append(estimator.loss_)
        judged.append(_loss(predict(request.validation.features), request.validation))
        over = patience.is_over(judged[-1])
        if patience.best_round == epoch:
            best = ([each.copy() for each in estimator.coefs_], [each.copy() for each in estimator.intercepts_])
        if over:
            break
    estimator.coefs_, estimator.intercepts_ = best
    return Fitted(estimator, predict, _history(losses, judged), _rounds(len(losses), estimator.max_iter))


def _loss(predicted: Array, rows: Rows) -> float:
    """Log loss of probabilities, or half the mean squared error of values."""
    if predicted.ndim == 1:
        losses = (predicted - rows.target) ** 2 / 2
    else:
        chosen = predicted[np.arange(len(rows)), rows.target]
        losses = -np.log(np.maximum(chosen, np.finfo(np.float64).tiny))
    return float(np.average(losses, weights=rows.weights))
