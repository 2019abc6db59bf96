"""Tests over tables of trainers, some of which need an extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from pipeline.spec.catalogue import TRAINERS

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    f"{framework}_{kind}": {"layers": [8], "epochs": 60, "learning_rate": 0.02} | own
    for framework in ("torch", "tensorflow")
    for kind, own in {"mlp": {}, "cnn": {"shape": [1, 2, 2], "filters": [4]}}.items()
}
"""Parameters with which a network is trained in about a second."""
BOOSTERS: Mapping[str, Mapping[str, Any]] = {name: {"n_estimators": 10} for name in ("xgboost", "lightgbm")}


def with_extras(cases: Iterable[Any]) -> list[Any]:
    """Mark the cases, tuples that begin with a trainer or its name alone, whose trainer needs an extra."""
    return [_marked(case if isinstance(case, tuple) else (case,)) for case in cases]


def _marked(case: tuple[Any, ...]) -> Any:
    extra = TRAINERS[case[0]].extra
    return pytest.param(*case, marks=pytest.mark.extra(extra)) if extra else pytest.param(*case)
