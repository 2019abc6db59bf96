"""A fitted network as ONNX nodes, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from pipeline.training.graph import Graph
from pipeline.training.neural.fitting import Layered, Own
from pipeline.training.neural.layers import Layer, Weights


def convert_network(graph: Graph, model: Layered | Own, classes: int) -> str:
    """Add the nodes of a network; gives values (rows, 1), or probabilities (rows, classes)."""
    value = _add_layers(graph, model) if isinstance(model, Layered) else model.add(graph)
    if classes:
        return graph.add("Softmax", value, axis=1)
    scaled = graph.add("Mul", value, graph.constant(model.scale.factor))
    return graph.add("Add", scaled, graph.constant(model.scale.shift))


def _add_layers(graph: Graph, model: Layered) -> str:
    value = graph.doubles()
    for place, layer in enumerate(model.layers):
        own = {name: model.weights[f"{place}.{name}"].astype(np.float64) for name in layer.shapes}
        value = _ADDERS[layer.kind](graph, value, layer, own)
    return value


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
    single = graph.cast(value, "float")
    kernel, bias = (graph.constant(weights[name], "float") for name in ("weight", "bias"))
    return graph.cast(graph.add("Conv", single, kernel, bias, pads=[layer.size[2] // 2] * 4), "double")


_ADDERS: Mapping[str, Callable[[Graph, str, Layer, Weights], str]] = {
    "image": lambda graph, value, layer, _: graph.add("Reshape", value, graph.shape(-1, *layer.size)),
    "conv": _conv,
    "pool": lambda graph, value, layer, _: graph.add(
        "MaxPool", value, kernel_shape=[layer.size[0]] * 2, strides=[layer.size[0]] * 2
    ),
    "flatten": lambda graph, value, _layer, _: graph.add("Flatten", value),
    "dense": _dense,
    "activation": lambda graph, value, layer, _: _ACTIVATIONS[layer.how](graph, value),
    "dropout": lambda _graph, value, _layer, _: value,
}
