"""Write ``trainers.json`` of the catalogue: what each trainer's parameters may be, as scikit-learn checks them.

Run it after scikit-learn was updated: ``python -m pipeline.steps.train.parameters``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from inspect import signature
from numbers import Integral, Real
from typing import Any

from pipeline.home import PACKAGE
from pipeline.model.task import Task
from pipeline.spec.catalogue.parameters import set_elsewhere
from pipeline.spec.catalogue.trainers import NETWORK_EXTRAS, TRAINERS
from pipeline.steps.train.boosting.parameters import boosting_parameters
from pipeline.steps.train.containers.parameters import container_parameters
from pipeline.steps.train.estimators import ESTIMATORS, estimator_class
from pipeline.steps.train.neural.parameters import network_parameters

TARGET = PACKAGE / "spec" / "catalogue" / "trainers.json"

GRADIENT_DESCENT: Mapping[str, Mapping[str, Any]] = {
    "learning_rate": {
        "default": 0.1,
        "accepts": [{"kind": "number", "low": 0, "high": None, "closed": "neither"}],
    },
    "epochs": {"default": 1000, "accepts": [{"kind": "integer", "low": 1, "high": None, "closed": "left"}]},
    "tolerance": {"default": 0.0, "accepts": [{"kind": "number", "low": 0, "high": None, "closed": "left"}]},
}

# A matrix of features is no matrix of distances, a spec holds no functions, and the other metrics are for points of a
# special kind (flags, places, missing values) or need parameters that are themselves fitted.
_UNUSABLE_OPTIONS = frozenset(
    {
        *("precomputed", "pyfunc", "p", "dice", "haversine", "jaccard", "mahalanobis", "nan_euclidean"),
        *("rogerstanimoto", "russellrao", "seuclidean", "sokalmichener", "sokalsneath", "yule"),
    }
)
# What scikit-learn's check lets through, but its fit does not take for one target and a plain matrix.
_UNUSABLE_KINDS = frozenset(
    {("alpha", "list"), ("precompute", "list"), ("n_neighbors", "none"), ("p", "none"), ("metric_params", "none")}
)
_PLAIN: tuple[tuple[Any, Mapping[str, Any]], ...] = (
    ("boolean", {"kind": "boolean"}),
    ("array-like", {"kind": "list"}),
    (list, {"kind": "list"}),
    (Integral, {"kind": "integer", "low": None, "high": None, "closed": "neither"}),
    (Real, {"kind": "number", "low": None, "high": None, "closed": "neither"}),
    (None, {"kind": "none"}),
)


def _finite(bound: Any) -> Any:
    return None if bound is None or math.isinf(bound) else bound


def _rules(constraint: Any) -> list[dict[str, Any]]:
    """Translate one of scikit-learn's constraints; none for what a spec cannot hold."""
    from sklearn.utils._param_validation import Interval, StrOptions

    if isinstance(constraint, StrOptions):
        values = sorted(constraint.options - constraint.deprecated - _UNUSABLE_OPTIONS)
        return [{"kind": "option", "values": values}]
    if isinstance(constraint, Interval):
        kind = "integer" if constraint.type is Integral else "number"
        bounds = {"low": _finite(constraint.left), "high": _finite(constraint.right)}
        return [{"kind": kind, **bounds, "closed": constraint.closed}]
    return [dict(rule) for plain, rule in _PLAIN if plain is constraint or plain == constraint]


def _parameters(trainer: str, task: Task) -> dict[str, Any]:
    kind = estimator_class(trainer, task)
    defaults = {name: each.default for name, each in signature(kind).parameters.items()}
    hidden = set_elsewhere(trainer)
    known = {
        name: {"default": defaults[name], "accepts": _accepts(name, constraints)}
        for name, constraints in kind._parameter_constraints.items()  # noqa: SLF001  (what its own check reads)
        if name in defaults and name not in hidden and defaults[name] != "deprecated"
    }
    return {name: each for name, each in known.items() if each["accepts"]}


def _accepts(name: str, constraints: Any) -> list[dict[str, Any]]:
    rules = [rule for each in constraints for rule in _rules(each)]
    return [rule for rule in rules if (name, rule["kind"]) not in _UNUSABLE_KINDS]


def collect_parameters() -> dict[str, Any]:
    """Return the content of ``trainers.json``."""
    from sklearn import __version__

    trainers: dict[str, Any] = {"linear_regression": {"regression": GRADIENT_DESCENT}}
    for trainer, task in ESTIMATORS:
        trainers.setdefault(trainer, {})[task] = _parameters(trainer, task)
    for trainer, info in TRAINERS.items():
        if info.extra in NETWORK_EXTRAS:
            kind = trainer.partition("_")[2]
            trainers[trainer] = {task: network_parameters(kind, task) for task in sorted(info.tasks)}
        elif info.extra == "isolation":
            trainers[trainer] = {task: container_parameters(trainer) for task in sorted(info.tasks)}
        elif info.extra == "boosting":
            trainers[trainer] = {task: boosting_parameters(trainer, task) for task in sorted(info.tasks)}
    return {"scikit_learn": ".".join(__version__.split(".")[:2]), "trainers": trainers}


def render_parameters() -> str:
    """Return the text of ``trainers.json``."""
    return json.dumps(collect_parameters(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render_parameters(), encoding="utf-8")
