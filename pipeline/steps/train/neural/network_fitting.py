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
from pipeline.steps.train.neural.network import Batch, Network, Scale, scale_of
from pipeline.steps.train.neural.pictures import Vary, shape_of, variation
from pipeline.steps.train.neural.pods import Pods
from pipeline.steps.train.neural.processes import Processes
from pipeline.steps.train.neural.rendezvous import Framework
from pipeline.steps.train.neural.texts import vocabulary_of
from pipeline.steps.train.neural.workers import Crew, Description, SharedCopy, SharedNetwork
from pipeline.steps.train.results import Array, Fitted, Floats
from pipeline.steps.train.targets import Rows
from pipeline.steps.train.task import FitRequest

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


def fit_network(request: FitRequest) -> Fitted:
    """Fit a network.

    Raises
    ------
    InputError
        The framework is not installed.
    TrainingError
        The loss is no number any more.
    """
    framework, _, kind = request.trainer.partition("_")
    require(str(TRAINERS[request.trainer].extra), "model.trainer", f"'{request.trainer}'")
    if kind == "custom":
        return _OWN_FITS[framework](request, request.train.features.shape[1], _outputs(request))
    layers = _LAYERS[kind](request)
    network = _NETWORKS[framework](request, layers)
    vary = variation(shape_of(request.columns, request.params["shape"]), request.params) if kind == "cnn" else None
    return fit_with(request, network, lambda scale: Layered(layers, network.weights(), scale), vary)


def fit_with(request: FitRequest, network: Network, finish: Callable[[Scale], Any], vary: Vary | None = None) -> Fitted:
    """Train a network that is built, and give it with its predictions."""
    scale = scale_of(request.train.target) if request.params.get("scale_target") else Scale()
    with closing(network):
        history = learn(
            network,
            _batch(request.train, scale),
            _batch(request.validation, scale),
            request.params,
            seed=request.seed,
            stop=request.stop,
            support=request.support,
            name=_name(request),
            vary=vary,
        )
    outputs = network.predictor()

    def predict(features: Array) -> Floats:
        found = np.concatenate([outputs(part) for part in blocks(features, MAX_BLOCK_ROWS)])
        return scale.undo(found[:, 0]) if request.task == "regression" else _softmax(found)

    asked = request.params["epochs"]
    stopped = (f"stopped after {len(history):,} of {asked:,} epochs",) if len(history) < asked else ()
    return Fitted(finish(scale), predict, history, (*network.notes, *stopped), is_native=False)


def _batch(rows: Rows, scale: Scale) -> Batch:
    target = rows.target if rows.target.dtype == np.int64 else scale.apply(rows.target)
    weights = None if rows.weights is None else rows.weights.astype(np.float32)
    return Batch(rows.features, target, weights)


def _name(request: FitRequest) -> str:
    """Name the checkpoint of a request, so that each trial of a search has its own."""
    facts = json.dumps([request.trainer, dict(request.params), len(request.train)], sort_keys=True, default=list)
    return f"{hashlib.sha256(facts.encode()).hexdigest()[:16]}.safetensors"


def _softmax(scores: Floats) -> Floats:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _outputs(request: FitRequest) -> int:
    return 1 if request.task == "regression" else int(request.train.target.max()) + 1


def _perceptron(request: FitRequest) -> tuple[Layer, ...]:
    columns = request.train.features.shape[1]
    return dense_layers(columns, request.params["layers"], _outputs(request), request.params)


def _convolutional(request: FitRequest) -> tuple[Layer, ...]:
    shape = shape_of(request.columns, request.params["shape"])
    return image_layers(shape, _outputs(request), request.params)


def _reading(request: FitRequest) -> tuple[Layer, ...]:
    features = request.train.features
    vocabulary = vocabulary_of(request.columns, features, request.params["vocabulary"])
    return text_layers(features.shape[1], vocabulary, _outputs(request), request.params)


def _torch(request: FitRequest, layers: Sequence[Layer]) -> Network:
    from pipeline.steps.train.neural.torch_network import build_module

    return _torch_network(request, build_module(layers, initial_weights(layers, request.seed)), layers)


def _torch_network(request: FitRequest, module: Any, layers: Sequence[Layer]) -> Network:
    """Return a network that this process learns alone, or with others."""
    from pipeline.steps.train.neural.torch_network import TorchNetwork

    if request.params["workers"] == 1:
        few = bool(layers) and request.params["batch_size"] * multiplications(layers) < _WORTH_THREADS
        return TorchNetwork(module, request.params, threads=1 if few else None)
    from pipeline.steps.train.neural.torch_rendezvous import TORCH

    crew = _crew(request, TORCH)
    return _shared(request, TorchNetwork(module, request.params, "cpu", crew.threads), layers, crew)


def _crew(request: FitRequest, framework: Framework) -> Crew:
    size, pods = int(request.params["workers"]), request.support.pods
    return Processes(framework, size) if pods is None else Pods(framework, size, pods)


def _shared(request: FitRequest, own: SharedCopy, layers: Sequence[Layer], crew: Crew) -> SharedNetwork:
    inputs, outputs = request.train.features.shape[1], _outputs(request)
    description = Description(layers, request.params, inputs, outputs, request.seed, crew.threads)
    return SharedNetwork(own, description, crew)


def _tensorflow(request: FitRequest, layers: Sequence[Layer]) -> Network:
    from pipeline.steps.train.neural.keras_network import build_model

    weights = initial_weights(layers, request.seed)
    return _shared_keras(request, _keras_copy(request, lambda dtype: build_model(layers, weights, dtype)), layers)


def _keras_copy(request: FitRequest, build: Callable[[str], Any]) -> KerasNetwork:
    from pipeline.steps.train.neural.keras_network import KerasNetwork

    return KerasNetwork(build, request.params, on_cpu=request.params["workers"] > 1)


def _shared_keras(request: FitRequest, own: KerasNetwork, layers: Sequence[Layer]) -> Network:
    """Return a network that this process learns alone, or with others."""
    if request.params["workers"] == 1:
        return own
    from pipeline.steps.train.neural.socket_rendezvous import KERAS

    return _shared(request, own, layers, _crew(request, KERAS))


def _fit_own_torch(request: FitRequest, inputs: int, outputs: int) -> Fitted:
    from pipeline.steps.train.neural.own_torch import OwnModule, build_own_module

    module = build_own_module(request.params, inputs, outputs, request.seed)
    fitted = fit_with(request, _torch_network(request, module, ()), lambda scale: OwnModule(module, scale))
    return replace(fitted, mend=f"a network whose steps do not depend on its values, or {fitted.mend}")


def _fit_own_keras(request: FitRequest, inputs: int, outputs: int) -> Fitted:
    from pipeline.steps.train.neural.own_keras import build_own_model, read_layers

    own = _keras_copy(request, lambda dtype: build_own_model(request.params, inputs, outputs, request.seed, dtype))
    read_layers(own.model, request.params)  # what has no graph is told before it is trained
    network = _shared_keras(request, own, ())
    return fit_with(request, network, lambda scale: Layered(*read_layers(own.model, request.params), scale))


_OWN_FITS: Mapping[str, Callable[[FitRequest, int, int], Fitted]] = {
    "torch": _fit_own_torch,
    "tensorflow": _fit_own_keras,
}
_LAYERS: Mapping[str, Callable[[FitRequest], tuple[Layer, ...]]] = {
    "mlp": _perceptron,
    "cnn": _convolutional,
    "text": _reading,
}
_NETWORKS: Mapping[str, Callable[[FitRequest, Sequence[Layer]], Network]] = {
    "torch": _torch,
    "tensorflow": _tensorflow,
}
