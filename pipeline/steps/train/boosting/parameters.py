"""What the parameters of XGBoost and LightGBM may be, with their own defaults.

Neither states it in a form that can be read. Left out are other boosters than trees, GPUs, categories (``transform``
encodes them) and constraints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.model.task import Task
from pipeline.steps.train.accepting import Table, flag, integer, number, option


def boosting_parameters(trainer: str, task: Task) -> Table:
    """Return the parameters of a trainer, as ``trainers.json`` keeps them."""
    return _TABLES[trainer](task)


def _share() -> dict[str, Any]:
    return number(1.0, 0, "right", 1.0)


def _xgboost(task: Task) -> Table:
    losses = ["count:poisson", "reg:absoluteerror", "reg:gamma", "reg:squarederror", "reg:tweedie"]
    return {
        "n_estimators": integer(100, 1),
        "learning_rate": number(0.3, 0, "neither"),
        "max_depth": integer(6, 0),
        "max_leaves": integer(0, 0),
        "grow_policy": option("depthwise", ["depthwise", "lossguide"]),
        "min_child_weight": number(1.0, 0),
        "gamma": number(0.0, 0),
        "max_delta_step": number(0.0, 0),
        "subsample": _share(),
        **{f"colsample_by{part}": _share() for part in ("tree", "level", "node")},
        "reg_alpha": number(0.0, 0),
        "reg_lambda": number(1.0, 0),
        "tree_method": option("hist", ["approx", "exact", "hist"]),
        "max_bin": integer(256, 2),
        **({"objective": option("reg:squarederror", losses)} if task == "regression" else {}),
    }


def _lightgbm(task: Task) -> Table:
    losses = ["gamma", "huber", "poisson", "quantile", "regression", "regression_l1", "tweedie"]
    regression = {"objective": option("regression", losses), "alpha": number(0.9, 0, "neither")}
    return {
        "n_estimators": integer(100, 1),
        "learning_rate": number(0.1, 0, "neither"),
        "num_leaves": integer(31, 2, 131072),
        "max_depth": integer(-1, None),
        "min_child_samples": integer(20, 0),
        "min_child_weight": number(0.001, 0),
        "min_split_gain": number(0.0, 0),
        "subsample": _share(),
        "subsample_freq": integer(0, 0),
        "colsample_bytree": _share(),
        "reg_alpha": number(0.0, 0),
        "reg_lambda": number(0.0, 0),
        "path_smooth": number(0.0, 0),
        "max_bin": integer(255, 2),
        "extra_trees": flag(False),
        **(regression if task == "regression" else {}),
    }


_TABLES: Mapping[str, Callable[[Task], Table]] = {"xgboost": _xgboost, "lightgbm": _lightgbm}
