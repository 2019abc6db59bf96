"""XGBoost and LightGBM: fitted under the watch of the validation rows, read back as trees.

Their converters to ONNX are not used: they need a package more, and float32 thresholds can send a row down another
branch. The trees are read from what each library writes (its JSON, its text format), and their sums become
probabilities by one formula here and in the graph.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from pipeline.errors import TrainingError
from pipeline.steps.train.boosting.rows import lightgbm_rows, xgboost_rows
from pipeline.steps.train.boosting.trees import read_lightgbm, read_xgboost
from pipeline.steps.train.mapping import blocks
from pipeline.steps.train.results import Array, Fitted
from pipeline.steps.train.stopping import Patience
from pipeline.steps.train.task import FitRequest
from pipeline.steps.train.trees import Tree

Link = Literal["identity", "exp", "sigmoid", "softmax"]

# Objectives of regression whose score is the logarithm of the value.
_LOGARITHMIC = frozenset({"count:poisson", "reg:gamma", "reg:tweedie", "poisson", "gamma", "tweedie"})


@dataclass(frozen=True, eq=False)
class Boosted:
    """A sum of trees.

    Attributes
    ----------
    trees : tuple of Tree
    base : ndarray of float64, shape (targets,)
        What is added to the sums.
    link : str
        What makes values or probabilities of the sums.
    feature_importances_ : ndarray of float64, shape (columns,)
        Share of the gain.
    """

    trees: tuple[Tree, ...]
    base: Array
    link: Link
    feature_importances_: Array = field(repr=False)


@dataclass
class _Watch:
    """Keeps the losses of each round, and tells when to stop."""

    patience: Patience | None
    losses: list[float] = field(default_factory=list)
    judged: list[float] = field(default_factory=list)

    def is_over(self, loss: float, judged: float | None) -> bool:
        self.losses.append(loss)
        if judged is None:
            return False
        self.judged.append(judged)
        return self.patience is not None and self.patience.is_over(judged)

    @property
    def rounds(self) -> int:
        """How many rounds count: those up to the best one where the validation rows end the training."""
        return self.patience.best_round if self.patience else len(self.losses)

    def history(self) -> tuple[dict[str, Any], ...]:
        judged: Sequence[float | None] = self.judged or [None] * len(self.losses)
        return tuple(
            {"step": step, "loss": loss, "validation_loss": each}
            for step, (loss, each) in enumerate(zip(self.losses, judged, strict=True), start=1)
        )


def _watch(request: FitRequest) -> _Watch:
    return _Watch(Patience(request.stop) if request.stop else None)


def _link(request: FitRequest) -> Link:
    if request.task == "regression":
        return "exp" if request.params["objective"] in _LOGARITHMIC else "identity"
    return "sigmoid" if _classes(request) == 2 else "softmax"


def _classes(request: FitRequest) -> int:
    return int(request.train.target.max()) + 1


_LINKS: Mapping[Link, Callable[[Array], Array]] = {
    "identity": lambda scores: scores[:, 0],
    "exp": lambda scores: np.exp(scores[:, 0]),
    "sigmoid": lambda scores: _both(1 / (1 + np.exp(-scores))),
    "softmax": lambda scores: _share(np.exp(scores - scores.max(axis=1, keepdims=True))),
}


def _both(positive: Array) -> Array:
    return np.concatenate([1 - positive, positive], axis=1)


def _share(values: Array) -> Array:
    return np.asarray(values / values.sum(axis=1, keepdims=True))


def _fitted(
    request: FitRequest, watch: _Watch, read: tuple[list[Tree], Array], gains: Array, score: Callable[[Array], Array]
) -> Fitted:
    link = _link(request)
    model = Boosted(*(tuple(read[0]), read[1]), link, gains / max(float(gains.sum()), np.finfo(np.float64).tiny))

    def predict(features: Array) -> Array:
        found = [np.asarray(score(part), dtype=np.float64).reshape(len(part), -1) for part in blocks(features)]
        scores = np.concatenate(found)
        with np.errstate(over="ignore"):
            return _LINKS[link](scores)

    asked, done = request.params["n_estimators"], len(watch.losses)
    notes = (f"stopped after {done:,} of {asked:,} rounds",) if done < asked else ()
    return Fitted(model, predict, watch.history(), notes, is_native=False)


def fit_xgboost(request: FitRequest) -> Fitted:
    """Fit XGBoost; the rounds up to the best one are kept."""
    import xgboost

    watch = _watch(request)

    class Rounds(xgboost.callback.TrainingCallback):  # type: ignore[misc]
        """Reads the losses after each round."""

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            del model, epoch
            last = {name: next(iter(found.values()))[-1] for name, found in evals_log.items()}
            return watch.is_over(float(last["train"]), last.get("validation"))

    held = xgboost_rows(request)
    booster = xgboost.train(
        _xgboost_params(request),
        held["train"],
        num_boost_round=request.params["n_estimators"],
        evals=[(each, name) for name, each in held.items()],
        callbacks=[Rounds()],
        verbose_eval=False,
    )[: watch.rounds]
    names = [f"f{column}" for column in range(request.train.features.shape[1])]
    gains = booster.get_score(importance_type="total_gain")
    return _fitted(
        request,
        watch,
        read_xgboost(booster.save_raw("json")),
        np.array([gains.get(name, 0.0) for name in names], dtype=np.float64),
        lambda features: booster.predict(xgboost.DMatrix(features), output_margin=True),
    )


def _xgboost_params(request: FitRequest) -> dict[str, Any]:
    params = {name: value for name, value in request.params.items() if name != "n_estimators"}
    if request.task == "classification":
        several = _classes(request) > 2
        params |= (
            {"objective": "multi:softprob", "num_class": _classes(request)} if several else {"objective": _LOGISTIC}
        )
    return params | {"seed": request.seed, "nthread": os.cpu_count(), "verbosity": 1}


_LOGISTIC = "binary:logistic"


def fit_lightgbm(request: FitRequest) -> Fitted:
    """Fit LightGBM; the rounds up to the best one are kept."""
    import lightgbm

    # The matrix is a view of a larger one; that the library copies it is no concern of the user's.
    warnings.filterwarnings("ignore", "Usage of np.ndarray subset", UserWarning)
    watch = _watch(request)

    def after_round(env: Any) -> None:
        last = {name: loss for name, _, loss, *_ in reversed(env.evaluation_result_list)}
        if watch.is_over(float(last["train"]), last.get("validation")):
            raise lightgbm.callback.EarlyStopException(watch.rounds - 1, env.evaluation_result_list)

    train = lightgbm.Dataset(lightgbm_rows(request.train), request.train.target, weight=request.train.weights)
    held, names = [train], ["train"]
    if len(request.validation):
        held.append(
            train.create_valid(
                *(lightgbm_rows(request.validation), request.validation.target), request.validation.weights
            )
        )
        names.append("validation")
    try:
        booster = lightgbm.train(
            _lightgbm_params(request),
            train,
            num_boost_round=request.params["n_estimators"],
            valid_sets=held,
            valid_names=names,
            callbacks=[after_round],
        )
    except lightgbm.basic.LightGBMError as error:
        raise TrainingError(
            f"train: found with lightgbm: {error}; expected parameters that suit each other and the data (model.params)"
        ) from error
    return _fitted(
        request,
        watch,
        read_lightgbm(booster.model_to_string(num_iteration=watch.rounds), max(_targets(request), 1)),
        booster.feature_importance("gain", iteration=watch.rounds),
        lambda features: booster.predict(features, raw_score=True, num_iteration=watch.rounds),
    )


def _targets(request: FitRequest) -> int:
    """Count the sums: one, or one for each of several classes."""
    return _classes(request) if _link(request) == "softmax" else 1


def _lightgbm_params(request: FitRequest) -> dict[str, Any]:
    params = {name: value for name, value in request.params.items() if name != "n_estimators"}
    if request.task == "classification":
        several = _classes(request) > 2
        params |= {"objective": "multiclass", "num_class": _classes(request)} if several else {"objective": "binary"}
    # Two ways to build histograms differ in their sums; which is faster depends on the machine, so one is chosen here.
    fixed = {"deterministic": True, "force_col_wise": True, "verbosity": -1, "num_threads": os.cpu_count()}
    return params | fixed | {"seed": request.seed}
