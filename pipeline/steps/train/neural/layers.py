"""The description of a network: its layers, in order, and the weights that they begin with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pipeline.errors import TrainingError
from pipeline.steps.train.results import Array

Kind = Literal[
    "image", "conv", "pool", "flatten", "embedding", "sequence_conv", "sequence_pool", "dense", "activation", "dropout"
]
Weights = dict[str, Array]
UNKNOWN = 1
"""Number of every word that is not known; 0 stands after a text's end."""
FAR_BELOW = -1e30
"""Less than any value of a place that has a word."""


@dataclass(frozen=True)
class Layer:
    """One layer; its place in the network is its name.

    Attributes
    ----------
    size : tuple of int
        Dense: inputs and outputs. Image: channels, height and width, which a row is taken for. Convolution: channels
        in, channels out, and the side of its square. Pool: the side of the square that becomes one value. Embedding:
        words of a text, words that there are, and numbers that stand for one. Convolution over a sequence: channels in,
        channels out, and words at a time.
    how : str
        Activation: its name; a convolution over a sequence has its own. Pool over a sequence: max or mean.
    rate : float
        Dropout: the share that is left out.
    """

    kind: Kind
    size: tuple[int, ...] = ()
    how: str = ""
    rate: float = 0.0

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of each weight: (outputs, inputs), for a convolution with its square after them."""
        if self.kind == "dense":
            return {"weight": self.size[::-1], "bias": self.size[1:]}
        if self.kind == "conv":
            before, after, side = self.size
            return {"weight": (after, before, side, side), "bias": (after,)}
        if self.kind == "sequence_conv":
            before, after, words = self.size
            return {"weight": (after, before, words), "bias": (after,)}
        if self.kind == "embedding":
            return {"vectors": self.size[1:]}
        return {}


def dense_layers(inputs: int, sizes: Sequence[int], outputs: int, params: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Describe hidden layers, each followed by its activation and dropout, and the output layer, which has neither."""
    layers: list[Layer] = []
    for before, size in zip([inputs, *sizes], sizes, strict=False):
        layers += [Layer("dense", (before, size)), *between(params)]
    return (*layers, Layer("dense", (sizes[-1] if sizes else inputs, outputs)))


def image_layers(shape: tuple[int, int, int], outputs: int, params: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Describe convolutions, each followed by its activation and a pool that halves the image, then dense layers.

    Raises
    ------
    TrainingError
        Nothing is left of the image after so many pools, or a convolution has no middle.
    """
    side, pool = _odd_kernel(params), params["pool"]
    layers, (channels, height, width) = [Layer("image", shape)], shape
    for filters in params["filters"]:
        layers += [Layer("conv", (channels, filters, side)), *between({**params, "dropout": 0}), Layer("pool", (pool,))]
        channels, height, width = filters, height // pool, width // pool
    if not height * width:
        raise TrainingError(
            f"train: found {len(params['filters'])} pools of {pool} for an image of {shape[1]} × {shape[2]}; expected "
            "that something is left of it (model.params.filters, model.params.pool)"
        )
    rest = dense_layers(channels * height * width, params["layers"], outputs, params)
    return (*layers, Layer("flatten"), *rest)


def _odd_kernel(params: Mapping[str, Any]) -> int:
    side = int(params["kernel"])
    if side % 2 == 0:
        raise TrainingError(f"train: found a kernel of {side}; expected an odd one, such as 3 (model.params.kernel)")
    return side


def text_layers(length: int, vocabulary: int, outputs: int, params: Mapping[str, Any]) -> tuple[Layer, ...]:
    """Describe a network that reads a text: vectors of its words, convolutions over them, one pool, dense layers.

    Every layer before the pool passes on which places have a word: what stands after a text's end counts nowhere.

    Raises
    ------
    TrainingError
        A convolution has no middle.
    """
    kernel, channels = _odd_kernel(params), params["embedding"]
    layers = [Layer("embedding", (length, vocabulary, channels))]
    for filters in params["filters"]:
        layers.append(Layer("sequence_conv", (channels, filters, kernel), params["activation"]))
        channels = filters
    dropped = between({**params, "activation": "identity"})
    rest = dense_layers(channels, params["layers"], outputs, params)
    return (*layers, Layer("sequence_pool", how=params["pooling"]), *dropped, *rest)


def between(params: Mapping[str, Any]) -> list[Layer]:
    """Return what follows a hidden layer."""
    name, rate = params["activation"], params["dropout"]
    activation = [] if name == "identity" else [Layer("activation", how=name)]
    return [*activation, *([Layer("dropout", rate=rate)] if rate else [])]


def multiplications(layers: Sequence[Layer]) -> int:
    """Count what one row multiplies on its way forwards."""
    total, places = 0, 1
    for layer in layers:
        if layer.kind == "image":
            places = layer.size[1] * layer.size[2]
        elif layer.kind == "embedding":
            places = layer.size[0]
        elif layer.kind == "pool":
            places //= layer.size[0] ** 2
        elif layer.kind in {"flatten", "sequence_pool"}:
            places = 1
        total += places * sum(math.prod(shape) for name, shape in layer.shapes.items() if name == "weight")
    return total


def initial_weights(layers: Sequence[Layer], seed: int) -> Weights:
    """Draw the weights to begin with, so that both frameworks begin with the same.

    Uniform within ±sqrt(6 / (inputs + outputs)) (Glorot and Bengio, 2010), vectors of words within ±0.05; biases are 0,
    and so is the vector of words that are not known, until some are learnt from.
    """
    generator = np.random.default_rng(seed)
    weights: Weights = {}
    for place, layer in enumerate(layers):
        for name, shape in layer.shapes.items():
            bound = _BOUNDS[name](shape)
            weights[f"{place}.{name}"] = generator.uniform(-bound, bound, shape).astype(np.float32)
        if layer.kind == "embedding":
            weights[f"{place}.vectors"][: UNKNOWN + 1] = 0
    return weights


_BOUNDS: Mapping[str, Callable[[tuple[int, ...]], float]] = {
    "weight": lambda shape: math.sqrt(6 / _fans(shape)),
    "vectors": lambda _: 0.05,
    "bias": lambda _: 0.0,
}


def _fans(shape: tuple[int, ...]) -> float:
    """Return how many inputs and outputs one weight has."""
    return float((shape[0] + shape[1]) * np.prod(shape[2:]))
