"""Fitting a network for a trainer such as ``torch_mlp``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipeline.extras import require
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.steps.train.graph import Graph
from pipeline.steps.train.mapping import MAX_BLOCK_ROWS, blocks
from pipeline.steps.train.neural.layers import (
    Layer,
    Weights,
    dense_layers,
    image_layers,
    initial_weights,
    multiplications,
    text_layers,
)
from pipeline.steps.train.neural.learning import learn
from pipeline.steps.train.neural.meeting import Framework
from pipeline.steps.train.neural.network import Batch, Network, Scale, scale_of
from pipeline.steps.train.neural.pictures import Vary, shape_of, variation
from pipeline.steps.train.neural.pods import Pods
from pipeline.steps.train.neural.processes import Processes
from pipeline.steps.train.neural.texts import vocabulary_of
from pipeline.steps.train.neural.workers import Crew, Description, SharedCopy, SharedNetwork
from pipeline.steps.train.results import Array, Fitted, Floats
from pipeline.steps.train.targets import Rows
from pipeline.steps.train.task import Lesson

if TYPE_CHECKING:
    from pipeline.steps.train.neural.keras_network import KerasNetwork

_WORTH_THREADS = 10_000_000
"""Multiplications of a batch, forwards, below which one thread is no slower than several that wait for each other."""


@dataclass(frozen=True)
class Layered:
    """A fitted network, for the conversion.

    Attributes
    ----------
    weights : dict
        As `initial_weights` names them.
    scale : Scale
        What turns the last layer's output into values.
    """

    layers: tuple[Layer, ...]
    weights: Weights
    scale: Scale


class Own(Protocol):
    """A fitted network that the user wrote, which adds itself to a graph."""

    @property
    def scale(self) -> Scale:
        """What turns its output into values."""

    def add(self, graph: Graph) -> str:
        """Add the nodes that give the raw outputs, in double precision."""


def fit_network(lesson: Lesson) -> Fitted:
    """Fit a network.

    Raises
    ------
    InputError
        The framework is not installed.
    TrainingError
        The loss is no number any more.
    """
    framework, _, kind = lesson.trainer.partition("_")
    require(str(TRAINERS[lesson.trainer].extra), "model.trainer", f"'{lesson.trainer}'")
    if kind == "custom":
        return _OWN_FITS[framework](lesson, lesson.train.features.shape[1], _outputs(lesson))
    layers = _LAYERS[kind](lesson)
    network = _NETWORKS[framework](lesson, layers)
    vary = variation(shape_of(lesson.columns, lesson.params["shape"]), lesson.params) if kind == "cnn" else None
    return fit_with(lesson, network, lambda scale: Layered(layers, network.weights(), scale), vary)


def fit_with(lesson: Lesson, network: Network, finish: Callable[[Scale], Any], vary: Vary | None = None) -> Fitted:
    """Train a network that is built, and give it with its predictions."""
    scale = scale_of(lesson.train.target) if lesson.params.get("scale_target") else Scale()
    with closing(network):
        history = learn(
            network,
            _batch(lesson.train, scale),
            _batch(lesson.validation, scale),
            lesson.params,
            seed=lesson.seed,
            stop=lesson.stop,
            support=lesson.support,
            name=_name(lesson),
            vary=vary,
        )
    outputs = network.predictor()

    def predict(features: Array) -> Floats:
        found = np.concatenate([outputs(part) for part in blocks(features, MAX_BLOCK_ROWS)])
        return scale.undo(found[:, 0]) if lesson.task == "regression" else _softmax(found)

    asked = lesson.params["epochs"]
    stopped = (f"stopped after {len(history):,} of {asked:,} epochs",) if len(history) < asked else ()
    return Fitted(finish(scale), predict, history, (*network.notes, *stopped), is_native=False)


def _batch(rows: Rows, scale: Scale) -> Batch:
    target = rows.target if rows.target.dtype == np.int64 else scale.apply(rows.target)
    weights = None if rows.weights is None else rows.weights.astype(np.float32)
    return Batch(rows.features, target, weights)


def _name(lesson: Lesson) -> str:
    """Name the checkpoint of a lesson, so that each trial of a search has its own."""
    facts = json.dumps([lesson.trainer, dict(lesson.params), len(lesson.train)], sort_keys=True, default=list)
    return f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _outputs(lesson: Lesson) -> int:
    return 1 if lesson.task == "regression" else int(lesson.train.target.max()) + 1


def _perceptron(lesson: Lesson) -> tuple[Layer, ...]:
    columns = lesson.train.features.shape[1]
    return dense_layers(columns, lesson.params["layers"], _outputs(lesson), lesson.params)


def _convolutional(lesson: Lesson) -> tuple[Layer, ...]:
    shape = shape_of(lesson.columns, lesson.params["shape"])
    return image_layers(shape, _outputs(lesson), lesson.params)


def _reading(lesson: Lesson) -> tuple[Layer, ...]:
    features = lesson.train.features
    vocabulary = vocabulary_of(lesson.columns, features, lesson.params["vocabulary"])
    return text_layers(features.shape[1], vocabulary, _outputs(lesson), lesson.params)


def _torch(lesson: Lesson, layers: Sequence[Layer]) -> Network:
    from pipeline.steps.train.neural.torch_network import build_module

    return _torch_network(lesson, build_module(layers, initial_weights(layers, lesson.seed)), layers)


def _torch_network(lesson: Lesson, module: Any, layers: Sequence[Layer]) -> Network:
    """Return a network that this process learns alone, or with others."""
    from pipeline.steps.train.neural.torch_network import TorchNetwork

    if lesson.params["workers"] == 1:
        few = bool(layers) and lesson.params["batch_size"] * multiplications(layers) < _WORTH_THREADS
        return TorchNetwork(module, lesson.params, threads=1 if few else None)
    from pipeline.steps.train.neural.torch_meeting import TORCH

    crew = _crew(lesson, TORCH)
    return _shared(lesson, TorchNetwork(module, lesson.params, "cpu", crew.threads), layers, crew)


def _crew(lesson: Lesson, framework: Framework) -> Crew:
    size, pods = int(lesson.params["workers"]), lesson.support.pods
    return Processes(framework, size) if pods is None else Pods(framework, size, pods)


def _shared(lesson: Lesson, own: SharedCopy, layers: Sequence[Layer], crew: Crew) -> SharedNetwork:
    inputs, outputs = lesson.train.features.shape[1], _outputs(lesson)
    description = Description(layers, lesson.params, inputs, outputs, lesson.seed, crew.threads)
    return SharedNetwork(own, description, crew)


def _tensorflow(lesson: Lesson, layers: Sequence[Layer]) -> Network:
    from pipeline.steps.train.neural.keras_network import build_model

    weights = initial_weights(layers, lesson.seed)
    return _shared_keras(lesson, _keras_copy(lesson, lambda dtype: build_model(layers, weights, dtype)), layers)


def _keras_copy(lesson: Lesson, build: Callable[[str], Any]) -> KerasNetwork:
    from pipeline.steps.train.neural.keras_network import KerasNetwork

    return KerasNetwork(build, lesson.params, on_cpu=lesson.params["workers"] > 1)


def _shared_keras(lesson: Lesson, own: KerasNetwork, layers: Sequence[Layer]) -> Network:
    """Return a network that this process learns alone, or with others."""
    if lesson.params["workers"] == 1:
        return own
    from pipeline.steps.train.neural.socket_meeting import KERAS

    return _shared(lesson, own, layers, _crew(lesson, KERAS))


def _fit_own_torch(lesson: Lesson, inputs: int, outputs: int) -> Fitted:
    from pipeline.steps.train.neural.own_torch import OwnModule, build_own_module

    module = build_own_module(lesson.params, inputs, outputs, lesson.seed)
    fitted = fit_with(lesson, _torch_network(lesson, module, ()), lambda scale: OwnModule(module, scale))
    return replace(fitted, mend=f"a network whose steps do not depend on its values, or {fitted.mend}")


def _fit_own_keras(lesson: Lesson, inputs: int, outputs: int) -> Fitted:
    from pipeline.steps.train.neural.own_keras import build_own_model, read_layers

    own = _keras_copy(lesson, lambda dtype: build_own_model(lesson.params, inputs, outputs, lesson.seed, dtype))
    read_layers(own.model, lesson.params)  # what has no graph is told before it is trained
    network = _shared_keras(lesson, own, ())
    return fit_with(lesson, network, lambda scale: Layered(*read_layers(own.model, lesson.params), scale))


_OWN_FITS: Mapping[str, Callable[[Lesson, int, int], Fitted]] = {"torch": _fit_own_torch, "tensorflow": _fit_own_keras}
_LAYERS: Mapping[str, Callable[[Lesson], tuple[Layer, ...]]] = {
    "mlp": _perceptron,
    "cnn": _convolutional,
    "text": _reading,
}
_NETWORKS: Mapping[str, Callable[[Lesson, Sequence[Layer]], Network]] = {
    "torch": _torch,
    "tensorflow": _tensorflow,
}
