"""What there is to choose from: metrics, trainers and the trainers' parameters.

Checking a spec must be quick, so nothing here imports a training library. What scikit-learn accepts was written
to ``trainers.json`` by ``python -m pipeline.training.parameters``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pipeline.spec.schema import Column, Model, Spec, Task

BOTH: frozenset[Task] = frozenset({"classification", "regression"})
CLASSIFICATION: frozenset[Task] = frozenset({"classification"})
REGRESSION: frozenset[Task] = frozenset({"regression"})


MODULE = r"[A-Za-z_]\w*\.py"
"""Name of a file with a network of one's own."""
FILE = r"[A-Za-z0-9_][\w-]*(\.[\w-]+)*(/[A-Za-z0-9_][\w-]*(\.[\w-]+)*)*"
"""Path of a file in the spec's folder."""
IMAGE = r"[^\s@]+@sha256:[0-9a-f]{64}"
"""Name of a container image, with its digest."""
VERSION = r"3\.[0-9]+"
"""Version of Python."""
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Files that are images; a partition may be many of them."""


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


def _named(model: Model) -> tuple[str, Task | None] | None:
    if model.trainer is not None:
        return trainer_names().get(_squeeze(model.trainer))
    return trainer_names().get(_squeeze(model.name), ("linear_regression", None))


def trainer_name(model: Model) -> str | None:
    """Give the key of `TRAINERS` that a model asks for.

    Case, ``_``, ``-`` and spaces don't matter, and scikit-learn's class names are understood. Without
    ``model.trainer``, it is the trainer that ``model.name`` names, else ``linear_regression``.

    Returns
    -------
    str or None
        None if ``model.trainer`` names no trainer.
    """
    named = _named(model)
    return named[0] if named else None


def suggest_trainer(name: str) -> str | None:
    """Give the trainer whose name is closest to a misspelt one, if any is close."""
    close = get_close_matches(_squeeze(name), trainer_names(), n=1)
    return trainer_names()[close[0]][0] if close else None


_TASK_OF_TYPE: Mapping[str, Task] = {
    "bool": "classification",
    "str": "classification",
    "float": "regression",
}
_TASK_OF_EXPRESSION: Mapping[str, Task] = {
    "flag": "classification",
    "text": "classification",
    "number": "regression",
}


def task_of(spec: Spec) -> Task | None:
    """Tell classification from regression.

    ``model.task`` decides, else the trainer (by its only task, or by a name such as ``SVC``), else the target.

    Returns
    -------
    Task or None
        None where all of them leave it open, such as for an ``int`` target.
    """
    if spec.model.task is not None:
        return spec.model.task
    named = _named(spec.model)
    if named and named[1]:
        return named[1]
    if named and len(TRAINERS[named[0]].tasks) == 1:
        return next(iter(TRAINERS[named[0]].tasks))
    return _task_of_target(spec)


TRANSFORMER_EXTRAS: Mapping[str, str] = {"word2vec": "text"}
"""Kind of transformer → the extra that fits it."""


def extras_of(spec: Spec) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Give what a spec needs beyond the package itself: place in the spec, what stands there, the extra."""
    trainer = trainer_name(spec.model)
    extra = TRAINERS[trainer].extra if trainer else None
    if trainer and extra and not (trainer == "container" and spec.model.params.get("image")):
        yield ("model", "trainer"), trainer, extra
    for column, rule in spec.transform.items():
        if rule.kind in TRANSFORMER_EXTRAS:
            yield ("transform", column), rule.kind, TRANSFORMER_EXTRAS[rule.kind]
    for name, each in spec.data.columns.items():
        if each.type == "image":
            yield ("data", "columns", name), "image", "images"


def _task_of_target(spec: Spec) -> Task | None:
    target = spec.model.target
    if target is None:
        return None
    expression = spec.data.derive.get(target)
    if expression is not None:
        return _task_of_expression(expression, spec.data.columns)
    column = spec.data.columns.get(target)
    return _TASK_OF_TYPE.get(column.type) if column else None


def _task_of_expression(text: str, columns: Mapping[str, Column]) -> Task | None:
    from pipeline.spec.expressions import ExpressionError, parse

    column = columns.get(text.strip())
    if column:
        return _TASK_OF_TYPE.get(column.type)
    try:
        return _TASK_OF_EXPRESSION[parse(text).kind]
    except ExpressionError:  # reported where the expression stands
        return None


@dataclass(frozen=True)
class ParameterProblem:
    """What is wrong with one of ``model.params``, as the found and expected of an error."""

    name: str
    found: str
    expected: str


# Parameters of scikit-learn that another key of the spec sets, or that would change nothing here.
ELSEWHERE: Mapping[str, str] = {
    "random_state": "model.seed",
    "class_weight": "model.class_weight",
    "early_stopping": "model.early_stopping",
    "validation_fraction": "split.validation",
    "scoring": "nothing: the loss on the validation rows decides when to stop",
    "n_jobs": "nothing: every core is used",
    "verbose": "nothing: the loss history is recorded",
    "warm_start": "nothing: training always starts anew",
    "copy_X": "nothing: inputs are never changed",
    "oob_score": "nothing: the validation rows serve that",
    "probability": "nothing: probabilities are always calibrated",
    "decision_function_shape": "nothing: probabilities are calibrated one class against the rest",
    "break_ties": "nothing: the class with the highest probability is predicted",
    "categorical_features": "transform, such as one_hot, for the column",
    "seed": "model.seed",
    "nthread": "nothing: every core is used",
    "num_threads": "nothing: every core is used",
    "early_stopping_rounds": "model.early_stopping.patience",
    "eval_metric": "nothing: the loss decides when to stop",
    "metric_freq": "nothing: the loss of each round is recorded",
    "scale_pos_weight": "model.class_weight",
    "is_unbalance": "model.class_weight",
    "missing": "clean.missing",
    "enable_categorical": "transform, such as one_hot, for the column",
    "categorical_feature": "transform, such as one_hot, for the column",
}

# With these trainers, two more of scikit-learn's parameters are the ones that model.early_stopping sets.
STOPPING: Mapping[str, str] = {
    "n_iter_no_change": "model.early_stopping.patience",
    "tol": "model.early_stopping.min_improvement",
}
_STOPPED_BY_SPEC = frozenset({"gradient_boosting", "hist_gradient_boosting"})


def set_elsewhere(trainer: str) -> Mapping[str, str]:
    """Give the parameters of a trainer that ``model.params`` may not hold → what to set instead."""
    return {**ELSEWHERE, **STOPPING} if trainer in _STOPPED_BY_SPEC else ELSEWHERE


@cache
def _catalogue() -> dict[str, dict[str, dict[str, Any]]]:
    text = Path(__file__).with_name("trainers.json").read_text(encoding="utf-8")
    trainers: dict[str, dict[str, dict[str, Any]]] = json.loads(text)["trainers"]
    return trainers


def parameters_of(trainer: str, task: Task) -> Mapping[str, Mapping[str, Any]]:
    """Give the parameters of a trainer: name → ``{"default": …, "accepts": [{"kind": …}, …]}``."""
    return _catalogue()[trainer][task]


def parameter_problems(trainer: str, task: Task | None, params: Mapping[str, Any]) -> list[ParameterProblem]:
    """Find the parameters that a trainer doesn't have, and values that it doesn't take.

    Parameters
    ----------
    trainer : str
        Key of `TRAINERS`.
    task : Task or None
        None, or a task that the trainer lacks, accepts what any of the trainer's tasks accepts.
    params : mapping
        ``model.params``, or one value of each from ``model.search.space``.

    Returns
    -------
    list of ParameterProblem
        In the order of `params`.
    """
    tasks = [task] if task in TRAINERS[trainer].tasks else sorted(TRAINERS[trainer].tasks)
    found = (_problem_with_all(trainer, tasks, name, value) for name, value in params.items())
    return [problem for problem in found if problem]


def _problem_with_all(trainer: str, tasks: Iterable[Any], name: str, value: Any) -> ParameterProblem | None:
    problems = [_problem(trainer, task, name, value) for task in tasks]
    return problems[0] if all(problems) else None


def _problem(trainer: str, task: Task, name: str, value: Any) -> ParameterProblem | None:
    instead = set_elsewhere(trainer).get(name)
    if instead:
        return ParameterProblem(name, "a parameter that model.params does not set", instead)
    known = parameters_of(trainer, task)
    if name not in known:
        return ParameterProblem(name, f"a parameter that {trainer} does not have", _suggestion(name, known))
    accepts = known[name]["accepts"]
    if any(_accepted(value, rule) for rule in accepts):
        return None
    return ParameterProblem(name, _written(value), " or ".join(_described(rule) for rule in accepts))


def _suggestion(name: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"'{close[0]}'" if close else f"one of {', '.join(known)}"


def _written(value: Any) -> str:
    """Write a value the way it stands in a spec."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        return repr(value)


def _accepted(value: Any, rule: Mapping[str, Any]) -> bool:
    return _CHECKS[rule["kind"]](value, rule)


def _in_interval(value: Any, rule: Mapping[str, Any]) -> bool:
    low, high, closed = rule["low"], rule["high"], rule["closed"]
    low = float("-inf") if low is None else low
    high = float("inf") if high is None else high
    above = value >= low if closed in {"left", "both"} else value > low
    below = value <= high if closed in {"right", "both"} else value < high
    return bool(above and below)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_file(value: Any) -> bool:
    """Accept a path, and what loading makes of it."""
    path = value.get("file") if isinstance(value, dict) else value
    return isinstance(path, str) and re.fullmatch(FILE, path) is not None


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and value != "" and "\0" not in value


_CHECKS: Mapping[str, Callable[[Any, Mapping[str, Any]], bool]] = {
    "none": lambda value, _: value is None,
    "boolean": lambda value, _: isinstance(value, bool),
    "list": lambda value, _: isinstance(value, list | tuple),
    "mapping": lambda value, _: isinstance(value, dict),
    "module": lambda value, _: isinstance(value, str) and re.fullmatch(MODULE, value) is not None,
    "file": lambda value, _: _is_file(value),
    "files": lambda value, _: isinstance(value, list | tuple) and all(map(_is_file, value)),
    "image": lambda value, _: isinstance(value, str) and re.fullmatch(IMAGE, value) is not None,
    "version": lambda value, _: isinstance(value, str) and re.fullmatch(VERSION, value) is not None,
    "words": lambda value, _: isinstance(value, list | tuple) and bool(value) and all(map(_is_word, value)),
    "sizes": lambda value, _: isinstance(value, list | tuple) and all(map(_is_size, value)),
    "option": lambda value, rule: isinstance(value, str) and value in rule["values"],
    "integer": lambda value, rule: _is_number(value) and isinstance(value, int) and _in_interval(value, rule),
    "number": lambda value, rule: _is_number(value) and _in_interval(value, rule),
}
_KINDS: Mapping[str, str] = {
    "none": "null",
    "boolean": "true or false",
    "list": "a list",
    "mapping": "a mapping",
    "module": "the name of a Python file beside the spec, such as network.py",
    "file": "the path of a file in the spec's folder",
    "files": "a list of paths of files in the spec's folder",
    "image": "an image by its digest, such as registry.example/own@sha256:…",
    "version": "a version of Python in quotes, such as '3.11'",
    "words": "a list of words, such as [python, train.py]",
    "sizes": "a list of whole numbers ≥ 1",
}


def _described(rule: Mapping[str, Any]) -> str:
    kind = rule["kind"]
    if kind == "option":
        return ", ".join(rule["values"])
    return _KINDS.get(kind) or _interval(rule)


def _interval(rule: Mapping[str, Any]) -> str:
    noun = "an integer" if rule["kind"] == "integer" else "a number"
    low, high, closed = rule["low"], rule["high"], rule["closed"]
    parts = []
    if low is not None:
        parts.append(f"{'≥' if closed in {'left', 'both'} else '>'} {low:g}")
    if high is not None:
        parts.append(f"{'≤' if closed in {'right', 'both'} else '<'} {high:g}")
    return " ".join([noun, " and ".join(parts)]).strip()
