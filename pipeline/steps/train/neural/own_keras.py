"""The user's own network in Keras: a ``Sequential`` of layers that there is a graph for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.errors import TrainingError
from pipeline.steps.train.neural.layers import Layer, Weights
from pipeline.steps.train.neural.modules import build_own
from pipeline.steps.train.neural.network import Params
from pipeline.steps.train.neural.quiet_keras import keras


def build_own_model(params: Params, inputs: int, outputs: int, seed: int, dtype: str) -> Any:
    """Let the user's file build its model, with weights that follow from the seed, to compute in a precision."""
    keras.utils.set_random_seed(seed)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        model = build_own(params, inputs, outputs)
    finally:
        keras.config.set_dtype_policy(before)
    if not isinstance(model, keras.Sequential):
        raise _refuse(params, f"{type(model).__name__} from build", "a keras.Sequential")
    model.build((None, inputs))
    if model.output_shape != (None, outputs):
        raise _refuse(params, f"the shape {model.output_shape} of its output", f"{(None, outputs)}")
    return model


def _refuse(params: Params, found: str, expected: str) -> TrainingError:
    name = params["module"]["file"]
    return TrainingError(f"train: {name}: found {found}; expected {expected} (model.params.module)")


def _dense(layer: Any) -> list[tuple[Layer, list[Any]]]:
    weights = layer.get_weights()
    rows = [(Layer("dense", weights[0].shape), [weights[0].T, *weights[1:]])]
    return [*rows, *_activation(layer)]


def _activation(layer: Any) -> list[tuple[Layer, list[Any]]]:
    name = getattr(layer.activation, "__name__", "")
    return [] if name == "linear" else [(Layer("activation", how=name), [])]


_PLAIN: Mapping[str, float | None] = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
"""What a ReLU has unless it is another function."""


def _relu(layer: Any) -> list[tuple[Layer, list[Any]]]:
    bent = [f"{name} {value}" for name, plain in _PLAIN.items() if (value := getattr(layer, name)) != plain]
    return [(Layer("activation", how=f"ReLU with {', '.join(bent)}" if bent else "relu"), [])]


_READ: Mapping[str, Callable[[Any], list[tuple[Layer, list[Any]]]]] = {
    "Dense": _dense,
    "Activation": _activation,
    "ReLU": _relu,
    "Dropout": lambda _: [],
    "InputLayer": lambda _: [],
}
_KNOWN = ("relu", "sigmoid", "tanh", "gelu")


def read_layers(model: Any, params: Params) -> tuple[tuple[Layer, ...], Weights]:
    """Describe a model's layers, and give their weights.

    Raises
    ------
    TrainingError
        There is no graph for one of them.
    """
    found: list[tuple[Layer, list[Any]]] = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind not in _READ:
            raise _refuse(params, f"the layer {kind}", f"one of {', '.join(_READ)}")
        found += _READ[kind](layer)
    if unknown := next((each.how for each, _ in found if each.kind == "activation" and each.how not in _KNOWN), None):
        raise _refuse(params, f"the activation {unknown}", f"one of {', '.join(_KNOWN)}")
    weights = {
        f"{place}.{name}": value
        for place, (_, values) in enumerate(found)
        for name, value in zip(("weight", "bias"), values, strict=False)
    }
    return tuple(layer for layer, _ in found), weights
