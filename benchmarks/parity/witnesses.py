"""What a framework itself predicts, by the call that its users make, in the precision that it computes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from pipeline.model.task import Task
from pipeline.steps.train.results import Array, Fitted

Caught = list[Any]
"""What training made, last come last: a booster, or a network."""


@contextmanager
def catching(trainer: str) -> Iterator[Caught]:
    """Keep the framework's own model while a trainer runs, of those that hide it behind one of ours."""
    caught: Caught = []
    place = next((each for start, each in _MAKERS.items() if trainer.startswith(start)), None)
    if place is None:
        yield caught
        return
    owner, name = place()
    made = getattr(owner, name)

    def keep(*given: Any, **more: Any) -> Any:
        result = made(*given, **more)
        caught.append(given[0] if name == "predictor" else result)
        return result

    with mock.patch.object(owner, name, keep):
        yield caught


def _xgboost() -> tuple[Any, str]:
    import xgboost

    return xgboost, "train"


def _lightgbm() -> tuple[Any, str]:
    import lightgbm

    return lightgbm, "train"


def _torch() -> tuple[Any, str]:
    from pipeline.steps.train.neural.torch_network import TorchNetwork

    return TorchNetwork, "predictor"


def _tensorflow() -> tuple[Any, str]:
    from pipeline.steps.train.neural.keras_network import KerasNetwork

    return KerasNetwork, "predictor"


_MAKERS: Mapping[str, Callable[[], tuple[Any, str]]] = {
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
    "torch": _torch,
    "tensorflow": _tensorflow,
}


def predict_alone(trainer: str, task: Task, caught: Caught, fitted: Fitted, rows: Array) -> Array | None:
    """Return values or probabilities as the framework gives them; None where `Fitted.predict` is that call already."""
    if not caught:
        return None
    ask = next(each for start, each in _ASKS.items() if trainer.startswith(start))
    found = np.asarray(ask(caught[-1], rows), dtype=np.float64).reshape(len(rows), -1)
    if trainer.startswith(("torch", "tensorflow")):
        return _as_prediction(task, fitted, found)
    if task == "regression":
        return found[:, 0]
    return found if found.shape[1] > 1 else np.concatenate([1 - found, found], axis=1)


def _as_prediction(task: Task, fitted: Fitted, outputs: Array) -> Array:
    if task == "regression":
        return np.asarray(fitted.estimator.scale.undo(outputs[:, 0]))
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _ask_xgboost(booster: Any, rows: Array) -> Any:
    return booster.inplace_predict(rows)


def _ask_lightgbm(booster: Any, rows: Array) -> Any:
    return booster.predict(rows)


def _ask_torch(network: Any, rows: Array) -> Any:
    import torch

    module = network._module.to("cpu").eval()  # noqa: SLF001 - nobody but this script needs the module itself
    with torch.no_grad():
        return module(torch.from_numpy(rows)).numpy()


def _ask_tensorflow(network: Any, rows: Array) -> Any:
    return network.model.predict(rows, verbose=0)


_ASKS: Mapping[str, Callable[[Any, Array], Any]] = {
    "xgboost": _ask_xgboost,
    "lightgbm": _ask_lightgbm,
    "torch": _ask_torch,
    "tensorflow": _ask_tensorflow,
}
