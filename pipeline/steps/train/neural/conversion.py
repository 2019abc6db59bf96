"""A fitted network as ONNX nodes, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from pipeline.steps.train.graph import Graph
from pipeline.steps.train.neural.layers import FAR_BELOW, UNKNOWN, Layer, Weights
from pipeline.steps.train.neural.network_fitting import Layered, Own


def convert_network(graph: Graph, model: Layered | Own, classes: int) -> str:
    """Add the nodes of a network; gives values (rows, 1), or probabilities (rows, classes)."""
    value = _add_layers(graph, model) if isinstance(model, Layered) else model.add(graph)
    if classes:
        return graph.add("Softmax", value, axis=1)
    scaled = graph.add("Mul", value, graph.constant(model.scale.factor))
    return graph.add("Add", scaled, graph.constant(model.scale.shift))


def _add_layers(graph: Graph, model: Layered) -> str:
    value: Any = graph.doubles()
    for place, layer in enumerate(model.layers):
        own = {name: model.weights[f"{place}.{name}"].astype(np.float64) for name in layer.shapes}
        value = _ADDERS[layer.kind](graph, value, layer, own)
    return str(value)


def _dense(graph: Graph, value: str, _: Layer, weights: Weights) -> str:
    product = graph.add("MatMul", value, graph.constant(weights["weight"].T))
    return graph.add("Add", product, graph.constant(weights["bias"]))


def _gelu(graph: Graph, value: str) -> str:
    """X · Φ(x); the runtime has the error function in single precision only, which is right to 1e-7."""
    inner = graph.cast(graph.add("Mul", value, graph.constant(1 / math.sqrt(2))), "float")
    error = graph.cast(graph.add("Erf", inner), "double")
    half = graph.add("Mul", value, graph.constant(0.5))
    return graph.add("Mul", half, graph.add("Add", error, graph.constant(1.0)))


_ACTIVATIONS: Mapping[str, Callable[[Graph, str], str]] = {
    "gelu": _gelu,
    "relu": lambda graph, value: graph.add("Relu", value),
    "sigmoid": lambda graph, value: graph.add("Sigmoid", value),
    "tanh": lambda graph, value: graph.add("Tanh", value),
}


def _conv(graph: Graph, value: str, layer: Layer, weights: Weights) -> str:
    """Fold in single precision: the runtime has no other convolution."""
    single, sides = graph.cast(value, "float"), weights["weight"].ndim - 2
    kernel, bias = (graph.constant(weights[name], "float") for name in ("weight", "bias"))
    return graph.cast(graph.add("Conv", single, kernel, bias, pads=[layer.size[2] // 2] * 2 * sides), "double")


class _Sequence(NamedTuple):
    """Values (rows, channels, places), and 1 or 0 for each place (rows, 1, places)."""

    values: str
    known: str


def _embedding(graph: Graph, value: str, layer: Layer, weights: Weights) -> _Sequence:
    tokens = graph.cast(value, "int64")
    last, none = graph.constant(layer.size[1] - 1, "int64"), graph.constant(0, "int64")
    listed = graph.add("And", graph.add("GreaterOrEqual", tokens, none), graph.add("LessOrEqual", tokens, last))
    tokens = graph.add("Where", listed, tokens, graph.constant(UNKNOWN, "int64"))
    vectors = graph.add("Gather", graph.constant(weights["vectors"]), tokens, axis=0)
    known = graph.add("Unsqueeze", graph.cast(graph.add("Greater", tokens, none), "double"), graph.shape(1))
    return _Sequence(graph.add("Mul", graph.add("Transpose", vectors, perm=[0, 2, 1]), known), known)


def _sequence_conv(graph: Graph, rows: _Sequence, layer: Layer, weights: Weights) -> _Sequence:
    folded = _conv(graph, rows.values, layer, weights)
    active = _ACTIVATIONS[layer.how](graph, folded) if layer.how in _ACTIVATIONS else folded
    return _Sequence(graph.add("Mul", active, rows.known), rows.known)


def _sequence_pool(graph: Graph, rows: _Sequence, layer: Layer, _: Weights) -> str:
    places, one = graph.shape(2), graph.constant(1.0)
    if layer.how == "mean":
        total, count = (graph.add("ReduceSum", each, places, keepdims=0) for each in rows)
        return graph.add("Div", total, graph.add("Max", count, one))
    there = graph.add("Greater", rows.known, graph.constant(0.0))
    values = graph.add("Where", there, rows.values, graph.constant(FAR_BELOW))
    largest, any_there = (graph.add("ReduceMax", each, places, keepdims=0) for each in (values, rows.known))
    return graph.add("Mul", largest, any_there)


# Of a layer before the pool over a sequence, the value is a _Sequence.
_ADDERS: Mapping[str, Callable[[Graph, Any, Layer, Weights], Any]] = {
    "image": lambda graph, value, layer, _: graph.add("Reshape", value, graph.shape(-1, *layer.size)),
    "conv": _conv,
    "pool": lambda graph, value, layer, _: graph.add(
        "MaxPool", value, kernel_shape=[layer.size[0]] * 2, strides=[layer.size[0]] * 2
    ),
    "flatten": lambda graph, value, _layer, _: graph.add("Flatten", value),
    "embedding": _embedding,
    "sequence_conv": _sequence_conv,
    "sequence_pool": _sequence_pool,
    "dense": _dense,
    "activation": lambda graph, value, layer, _: _ACTIVATIONS[layer.how](graph, value),
    "dropout": lambda _graph, value, _layer, _: value,
}
