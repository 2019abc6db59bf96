"""What there is to choose from: metrics, trainers and the trainers' parameters.

Checking a spec must be quick, so nothing here imports a training library. What scikit-learn accepts was written
to ``trainers.json`` by ``python -m pipeline.steps.train.parameters``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

from pipeline.model.task import Task
from pipeline.spec.schema.spec import Model

BOTH: frozenset[Task] = frozenset({"classification", "regression"})
CLASSIFICATION: frozenset[Task] = frozenset({"classification"})
REGRESSION: frozenset[Task] = frozenset({"regression"})


IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Files that are images; a partition may be many of them."""


# Features are single precision: kept as they are, with a copy in double precision, in bins, or read a block at a time.
_SINGLE, _DOUBLE, _BINS, _BLOCKS = 4, 12, 1, 0


@dataclass(frozen=True)
class TrainerInfo:
    """What a trainer can do.

    Attributes
    ----------
    tasks : frozenset of Task
        What it can learn.
    early_stopping : bool
        Whether ``model.early_stopping`` applies: it learns in rounds.
    class_weight : bool
        Whether ``model.class_weight`` applies.
    handles_missing : bool
        Whether its features may be missing (``clean.missing: keep``).
    extra : str or None
        Key of `pipeline.extras.EXTRAS` that it needs.
    reads : str
        What its features may be: numbers (it would take those of words for amounts), the pixels of one image, the
        words of one text, or anything, since the user knows.
    held : int
        Bytes that it holds at least in memory for each number of its rows; below 4 it reads them a block at a time.
    """

    tasks: frozenset[Task]
    early_stopping: bool = False
    class_weight: bool = False
    handles_missing: bool = False
    extra: str | None = None
    reads: Literal["numbers", "pixels", "words", "anything"] = "numbers"
    held: int = _DOUBLE


def _boosted() -> TrainerInfo:
    return TrainerInfo(BOTH, early_stopping=True, class_weight=True, handles_missing=True, extra="boosting", held=_BINS)


def _network(extra: str, **more: Any) -> TrainerInfo:
    return TrainerInfo(BOTH, early_stopping=True, class_weight=True, extra=extra, held=_BLOCKS, **more)


def _isolated(**more: Any) -> TrainerInfo:
    return TrainerInfo(BOTH, class_weight=True, extra="isolation", reads="anything", held=_BLOCKS, **more)


NETWORK_EXTRAS = frozenset({"torch", "tensorflow"})
"""Extras whose trainers are networks."""

TRAINERS: Mapping[str, TrainerInfo] = {
    "linear_regression": TrainerInfo(REGRESSION, early_stopping=True, held=_BLOCKS),
    "least_squares": TrainerInfo(REGRESSION),
    "ridge": TrainerInfo(BOTH, class_weight=True),
    "lasso": TrainerInfo(REGRESSION),
    "elastic_net": TrainerInfo(REGRESSION),
    "logistic_regression": TrainerInfo(CLASSIFICATION, class_weight=True),
    "decision_tree": TrainerInfo(BOTH, class_weight=True, handles_missing=True, held=_SINGLE),
    "random_forest": TrainerInfo(BOTH, class_weight=True, handles_missing=True, held=_SINGLE),
    "extra_trees": TrainerInfo(BOTH, class_weight=True, handles_missing=True, held=_SINGLE),
    "gradient_boosting": TrainerInfo(BOTH, early_stopping=True, class_weight=True, held=_SINGLE),
    "hist_gradient_boosting": TrainerInfo(BOTH, early_stopping=True, class_weight=True, handles_missing=True),
    "k_neighbors": TrainerInfo(BOTH),
    "svm": TrainerInfo(BOTH, class_weight=True),
    "linear_svm": TrainerInfo(BOTH, class_weight=True),
    "mlp": TrainerInfo(BOTH, early_stopping=True, class_weight=True),
    "xgboost": _boosted(),
    "lightgbm": _boosted(),
    "torch_mlp": _network("torch"),
    "torch_cnn": _network("torch", reads="pixels"),
    "torch_text": _network("torch", reads="words"),
    "torch_custom": _network("torch", reads="anything"),
    "tensorflow_mlp": _network("tensorflow"),
    "tensorflow_cnn": _network("tensorflow", reads="pixels"),
    "tensorflow_text": _network("tensorflow", reads="words"),
    "tensorflow_custom": _network("tensorflow", reads="anything"),
    "container": _isolated(handles_missing=True),
    "mxnet": _isolated(),
}

TRAINER_KINDS: Mapping[str, tuple[str, ...]] = {
    "linear": (
        *("linear_regression", "least_squares", "ridge", "lasso", "elastic_net", "logistic_regression", "linear_svm"),
    ),
    "trees": (
        *("decision_tree", "random_forest", "extra_trees", "gradient_boosting", "hist_gradient_boosting"),
        *("xgboost", "lightgbm"),
    ),
    "others of scikit-learn": ("k_neighbors", "svm", "mlp"),
    "networks": (
        *("torch_mlp", "torch_cnn", "torch_text", "tensorflow_mlp", "tensorflow_cnn", "tensorflow_text"),
        "mxnet",
    ),
    "your own network (docs/networks.md)": ("torch_custom", "tensorflow_custom"),
    "your own program (docs/containers.md)": ("container",),
}
"""Every trainer, by its kind."""

_PLACE_AND_VALUE = 8


def held_bytes(trainer: str, params: Mapping[str, Any]) -> int:
    """Say how many bytes a trainer holds at least for each number of its rows; XGBoost bins them only for ``hist``."""
    return _PLACE_AND_VALUE if params.get("tree_method", "hist") != "hist" else TRAINERS[trainer].held


# Other names that people know a trainer by, squeezed; the class names of scikit-learn say the task as well.
_ALIASES: dict[str, tuple[str, Task | None]] = {
    "gradientdescent": ("linear_regression", None),
    "ols": ("least_squares", None),
    "ordinaryleastsquares": ("least_squares", None),
    "ridgeclassifier": ("ridge", "classification"),
    "ridgeregression": ("ridge", "regression"),
    "lassoregression": ("lasso", None),
    "knn": ("k_neighbors", None),
    "svc": ("svm", "classification"),
    "svr": ("svm", "regression"),
    "linearsvc": ("linear_svm", "classification"),
    "linearsvr": ("linear_svm", "regression"),
    "multilayerperceptron": ("mlp", None),
    "neuralnetwork": ("mlp", None),
    "xgb": ("xgboost", None),
    "xgbclassifier": ("xgboost", "classification"),
    "xgbregressor": ("xgboost", "regression"),
    "lgbm": ("lightgbm", None),
    "lgbmclassifier": ("lightgbm", "classification"),
    "lgbmregressor": ("lightgbm", "regression"),
    "torch": ("torch_mlp", None),
    "pytorch": ("torch_mlp", None),
    "tensorflow": ("tensorflow_mlp", None),
    "keras": ("tensorflow_mlp", None),
    "histgradientboosting": ("hist_gradient_boosting", None),
}

_SUFFIXES: Mapping[str, Task] = {"classifier": "classification", "regressor": "regression"}


def _squeeze(name: str) -> str:
    return "".join(each for each in name.casefold() if each not in "_- ")


@cache
def trainer_names() -> Mapping[str, tuple[str, Task | None]]:
    """Every squeezed name → the trainer, and the task where the name says it."""
    names: dict[str, tuple[str, Task | None]] = {_squeeze(name): (name, None) for name in TRAINERS}
    for name, info in TRAINERS.items():
        if info.tasks == BOTH:
            names |= {_squeeze(name) + suffix: (name, task) for suffix, task in _SUFFIXES.items()}
    return names | _ALIASES


def named_trainer(model: Model) -> tuple[str, Task | None] | None:
    """Find the trainer that a model names, and the task if the name says it; None if it names none."""
    if model.trainer is not None:
        return trainer_names().get(_squeeze(model.trainer))
    return trainer_names().get(_squeeze(model.name), ("linear_regression", None))


def trainer_name(model: Model) -> str | None:
    """Find the key of `TRAINERS` that a model asks for.

    Case, ``_``, ``-`` and spaces don't matter, and scikit-learn's class names are understood. Without
    ``model.trainer``, it is the trainer that ``model.name`` names, else ``linear_regression``.

    Returns
    -------
    str or None
        None if ``model.trainer`` names no trainer.
    """
    named = named_trainer(model)
    return named[0] if named else None


def suggest_trainer(name: str) -> str | None:
    """Find the trainer whose name is closest to a misspelt one, if any is close."""
    close = get_close_matches(_squeeze(name), trainer_names(), n=1)
    return trainer_names()[close[0]][0] if close else None
