"""Parameters of trainers: what each may be, and what is wrong with those of a spec."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.model.task import Task
from pipeline.spec.catalogue.trainers import TRAINERS

MODULE = r"[A-Za-z_]\w*\.py"
"""Name of a file with a network of one's own."""


FILE = r"[A-Za-z0-9_][\w-]*(\.[\w-]+)*(/[A-Za-z0-9_][\w-]*(\.[\w-]+)*)*"
"""Path of a file in the spec's folder."""


IMAGE = r"[^\s@]+@sha256:[0-9a-f]{64}"
"""Name of a container image, with its digest."""


VERSION = r"3\.[0-9]+"
"""Version of Python."""


@dataclass(frozen=True)
class ParameterProblem:
    """What is wrong with one of ``model.params``: what was found, and what was expected."""

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
    """List the parameters of a trainer that ``model.params`` may not hold → what to set instead."""
    return {**ELSEWHERE, **STOPPING} if trainer in _STOPPED_BY_SPEC else ELSEWHERE


@cache
def _catalogue() -> dict[str, dict[str, dict[str, Any]]]:
    text = Path(__file__).with_name("trainers.json").read_text(encoding="utf-8")
    trainers: dict[str, dict[str, dict[str, Any]]] = json.loads(text)["trainers"]
    return trainers


def parameters_of(trainer: str, task: Task) -> Mapping[str, Mapping[str, Any]]:
    """Read the parameters of a trainer: name → ``{"default": …, "accepts": [{"kind": …}, …]}``."""
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
    """Write a value as it stands in a spec."""
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
