"""What the parameters of the networks may be: the same for PyTorch and for TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.spec.schema import Task

Table = Mapping[str, Mapping[str, Any]]

NETWORK_EXTRAS = frozenset({"torch", "tensorflow"})
"""Extras whose trainers are networks."""

_ACTIVATIONS = ["gelu", "identity", "relu", "sigmoid", "tanh"]
_LOSSES: Mapping[Task, tuple[str, list[str]]] = {
    "regression": ("mse", ["huber", "mse"]),
    "classification": ("cross_entropy", ["cross_entropy"]),
}


def _option(default: str, values: list[str]) -> dict[str, Any]:
    return {"default": default, "accepts": [{"kind": "option", "values": values}]}


def _number(default: float | None, low: float, closed: str = "left", high: float | None = None) -> dict[str, Any]:
    rules: list[dict[str, Any]] = [{"kind": "number", "low": low, "high": high, "closed": closed}]
    return {"default": default, "accepts": [*rules, {"kind": "none"}] if default is None else rules}


def _integer(default: int, low: int) -> dict[str, Any]:
    return {"default": default, "accepts": [{"kind": "integer", "low": low, "high": None, "closed": "left"}]}


def _sizes(default: list[int]) -> dict[str, Any]:
    return {"default": default, "accepts": [{"kind": "sizes"}]}


def _flag(default: bool) -> dict[str, Any]:  # noqa: FBT001 - a cell of a table
    return {"default": default, "accepts": [{"kind": "boolean"}]}


def _learning(task: Task) -> dict[str, Any]:
    """Give the parameters that every network has."""
    regresses = task == "regression"
    return {
        "activation": _option("relu", _ACTIVATIONS),
        "dropout": _number(0.0, 0, high=1),
        "loss": _option(*_LOSSES[task]),
        **({"huber_delta": _number(1.0, 0, "neither"), "scale_target": _flag(True)} if regresses else {}),
        "optimizer": _option("adam", ["adam", "rmsprop", "sgd"]),
        "learning_rate": _number(0.001, 0, "neither"),
        "momentum": _number(0.0, 0, high=1),
        "weight_decay": _number(0.0, 0),
        "schedule": _option("constant", ["constant", "cosine", "exponential", "linear", "step"]),
        "warmup_epochs": _integer(0, 0),
        "epochs": _integer(100, 1),
        "batch_size": _integer(32, 1),
        "clip_norm": _number(None, 0, "neither"),
        "precision": _option("single", ["mixed", "single"]),
    }


def network_parameters(kind: str, task: Task) -> Table:
    """Give the parameters of a network, as ``trainers.json`` keeps them.

    Parameters
    ----------
    kind : str
        The trainer's name without its framework: ``mlp``.
    """
    return {**_OWN[kind], **_learning(task)}


_OWN: Mapping[str, Table] = {
    "mlp": {"layers": _sizes([64])},
    "cnn": {
        "shape": {"default": None, "accepts": [{"kind": "sizes"}, {"kind": "none"}]},
        "filters": _sizes([16, 32]),
        "kernel": _integer(3, 1),
        "pool": _integer(2, 1),
        "layers": _sizes([64]),
        "flip": _flag(False),
        "shift": _integer(0, 0),
        "noise": _number(0.0, 0),
    },
}
