"""Reading the trees of XGBoost and LightGBM from what they write."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pipeline.errors import TrainingError
from pipeline.steps.train.results import Array
from pipeline.steps.train.trees import Tree


def read_xgboost(content: bytes | bytearray) -> tuple[list[Tree], Array]:
    """Read XGBoost's JSON (its own schema, version 3): trees, and the base of each target as a score.

    XGBoost goes left where a float32 value is below a threshold, our trees where it is at most one: the largest double
    below the threshold parts the same values.
    """
    learner = json.loads(content)["learner"]
    model, params = learner["gradient_booster"]["model"], learner["learner_model_param"]
    trees = [_xgboost_tree(tree, target) for tree, target in zip(model["trees"], model["tree_info"], strict=True)]
    targets = max(int(params["num_class"]), 1)
    return trees, _base_score(params["base_score"], learner["objective"]["name"], targets)


def _xgboost_tree(tree: dict[str, Any], target: int) -> Tree:
    left = np.array(tree["left_children"], dtype=np.int64)
    conditions = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    leaf = left < 0
    return Tree(
        np.where(leaf, 0, np.array(tree["split_indices"], dtype=np.int64)),
        np.where(leaf, 0, left),
        np.where(leaf, 0, np.array(tree["right_children"], dtype=np.int64)),
        np.where(leaf, 0.0, np.nextafter(conditions, -np.inf)),
        np.array(tree["default_left"], dtype=bool),
        leaf,
        np.where(leaf, conditions, 0.0)[:, None],
        (target,),
    )


def _base_score(written: str, objective: str, targets: int) -> Array:
    """Read the base score, which is written as a prediction, and give it as a score."""
    given = np.array(json.loads(written), dtype=np.float64).reshape(-1)
    if objective == "binary:logistic":
        given = np.log(given / (1 - given))
    elif objective in {"count:poisson", "reg:gamma", "reg:tweedie"}:
        given = np.log(given)
    return np.broadcast_to(given, (targets,)).copy()


_CATEGORICAL, _DEFAULT_LEFT, _MISSING_SHIFT = 1, 2, 2
_MISSING_ZERO, _MISSING_NAN = 1, 2


def read_lightgbm(content: str, targets: int) -> tuple[list[Tree], Array]:
    """Read LightGBM's text format (version 4): trees, and a base of 0, since the first tree holds it."""
    sections = content.partition("\nend of trees")[0].split("\nTree=")[1:]
    trees = [_lightgbm_tree(_fields(section), place % targets) for place, section in enumerate(sections)]
    return trees, np.zeros(targets)


def _fields(section: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in section.split("\n") if "=" in line)


def _lightgbm_tree(fields: dict[str, str], target: int) -> Tree:
    """Lay inner nodes before leaves; a child below 0 is the leaf ``-child - 1``."""
    leaves = _numbers(fields["leaf_value"], np.float64)
    inner = int(fields["num_leaves"]) - 1
    nodes = inner + len(leaves)
    feature, left, right = (np.zeros(nodes, dtype=np.int64) for _ in range(3))
    threshold, missing_left = np.zeros(nodes), np.zeros(nodes, dtype=bool)
    if inner:
        feature[:inner] = _numbers(fields["split_feature"], np.int64)
        left[:inner] = _children(fields["left_child"], inner)
        right[:inner] = _children(fields["right_child"], inner)
        threshold[:inner] = _beside_zero(_numbers(fields["threshold"], np.float64))
        missing_left[:inner] = _missing_left(_numbers(fields["decision_type"], np.int64), threshold[:inner])
    values = np.concatenate([np.zeros(inner), leaves])
    leaf = np.arange(nodes) >= inner
    return Tree(feature, left, right, threshold, missing_left, leaf, values[:, None], (target,))


def _children(text: str, inner: int) -> Array:
    given = _numbers(text, np.int64)
    return np.where(given < 0, inner - given - 1, given)


_ZERO = float(np.float32(1e-35))


def _beside_zero(threshold: Array) -> Array:
    """Move thresholds out of the values that LightGBM takes for 0, those up to 1e-35 from it, as 0 would go."""
    tiny = np.abs(threshold) <= _ZERO
    moved = np.where(threshold >= 0, _ZERO, np.nextafter(-_ZERO, -np.inf))
    return np.where(tiny, moved, threshold)


def _missing_left(decisions: Array, threshold: Array) -> Array:
    """Tell where a missing value goes: where the node says, or where 0 goes if training saw none missing there."""
    kinds = decisions >> _MISSING_SHIFT & 3
    if (decisions & _CATEGORICAL).any() or (kinds == _MISSING_ZERO).any():
        raise TrainingError(
            "train: found a tree of lightgbm with categories, or with 0 as missing; expected numbers alone"
        )
    return np.where(kinds == _MISSING_NAN, (decisions & _DEFAULT_LEFT) > 0, threshold >= 0)


def _numbers(text: str, dtype: Any) -> Array:
    """Read numbers; a threshold may be infinite, where only missing values go the other way."""
    return np.array(text.split(), dtype=dtype)
