"""What the parameters of the networks may be: the same for PyTorch and for TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.model.task import Task
from pipeline.steps.train.accepting import Table
from pipeline.steps.train.accepting import flag as _flag
from pipeline.steps.train.accepting import integer as _integer
from pipeline.steps.train.accepting import number as _number
from pipeline.steps.train.accepting import option as _option
from pipeline.steps.train.accepting import sizes as _sizes

_ACTIVATIONS = ["gelu", "identity", "relu", "sigmoid", "tanh"]
_LOSSES: Mapping[Task, tuple[str, list[str]]] = {
    "regression": ("mse", ["huber", "mse"]),
    "classification": ("cross_entropy", ["cross_entropy"]),
}


def _learning(task: Task) -> dict[str, Any]:
    """Return the parameters that every network has."""
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
        "workers": _integer(1, 1),
    }


def network_parameters(kind: str, task: Task) -> Table:
    """Return the parameters of a network, as ``trainers.json`` keeps them.

    Parameters
    ----------
    kind : str
        The second half of the trainer's name, such as ``mlp``; the first one, the framework, changes nothing.
    """
    shared = _learning(task)
    if kind == "custom":  # its layers are the user's
        shared = {name: each for name, each in shared.items() if name not in {"activation", "dropout"}}
    return {**_OWN[kind], **shared}


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
    "text": {
        "vocabulary": _integer(None, 2),
        "embedding": _integer(64, 1),
        "filters": _sizes([]),
        "kernel": _integer(3, 1),
        "pooling": _option("mean", ["max", "mean"]),
        "layers": _sizes([64]),
    },
    "custom": {
        "module": {"default": "network.py", "accepts": [{"kind": "module"}]},
        "arguments": {"default": {}, "accepts": [{"kind": "mapping"}]},
    },
}
