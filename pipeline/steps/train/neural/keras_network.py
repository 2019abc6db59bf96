"""A network in Keras, on TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from pipeline.steps.train.neural.group import Group
from pipeline.steps.train.neural.keras_text import Embedding, SequenceConv, SequencePool
from pipeline.steps.train.neural.layers import Layer, Weights
from pipeline.steps.train.neural.network import Batch, Params
from pipeline.steps.train.neural.quiet_keras import keras, tf
from pipeline.steps.train.neural.shards import Shard
from pipeline.steps.train.results import Array, Floats, Predict

_LAYERS: Mapping[str, Callable[[Layer, str], Any]] = {
    "image": lambda layer, dtype: keras.Sequential(
        [keras.layers.Reshape(layer.size, dtype=dtype), keras.layers.Permute((2, 3, 1), dtype=dtype)]
    ),
    "conv": lambda layer, dtype: keras.layers.Conv2D(layer.size[1], layer.size[2], padding="same", dtype=dtype),
    "pool": lambda layer, dtype: keras.layers.MaxPooling2D(layer.size[0], dtype=dtype),
    "flatten": lambda _, dtype: keras.Sequential(
        [keras.layers.Permute((3, 1, 2), dtype=dtype), keras.layers.Flatten(dtype=dtype)]
    ),
    "embedding": Embedding,
    "sequence_conv": lambda layer, dtype: SequenceConv(layer, _ACTIVATIONS.get(layer.how), dtype),
    "sequence_pool": SequencePool,
    "dense": lambda layer, dtype: keras.layers.Dense(layer.size[1], dtype=dtype),
    "activation": lambda layer, dtype: keras.layers.Activation(_ACTIVATIONS[layer.how], dtype=dtype),
    "dropout": lambda layer, dtype: keras.layers.Dropout(layer.rate, seed=0, dtype=dtype),
}
_ACTIVATIONS: Mapping[str, Any] = {
    "gelu": lambda value: keras.activations.gelu(value, approximate=False),
    "relu": "relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
}
_LOSSES: Mapping[str, Callable[[Params], Callable[[Any, Any], Any]]] = {
    "mse": lambda _: lambda outputs, target: tf.square(outputs[:, 0] - target),
    "huber": lambda params: lambda outputs, target: _huber(outputs[:, 0] - target, params["huber_delta"]),
    "cross_entropy": lambda _: lambda outputs, target: tf.nn.sparse_softmax_cross_entropy_with_logits(target, outputs),
}
_OPTIMIZERS: Mapping[str, Callable[[Params], Any]] = {
    "adam": lambda params: keras.optimizers.Adam(params["learning_rate"], epsilon=1e-8),
    "rmsprop": lambda params: keras.optimizers.RMSprop(
        params["learning_rate"], rho=0.9, momentum=params["momentum"], epsilon=1e-8
    ),
    "sgd": lambda params: keras.optimizers.SGD(params["learning_rate"], momentum=params["momentum"]),
}
_PREDICTED = 4096


def _huber(error: Any, delta: float) -> Any:
    size = tf.abs(error)
    return tf.where(size <= delta, tf.square(error) / 2, delta * (size - delta / 2))


def build_model(layers: Sequence[Layer], weights: Weights, dtype: str) -> Any:
    """Build the model of some layers; the place of a layer is its place in the model."""
    inputs = value = keras.Input((math.prod(layers[0].size) if layers[0].kind == "image" else layers[0].size[0],))
    made = [_LAYERS[layer.kind](layer, dtype) for layer in layers]
    for each in made:
        value = each(value)
    model = keras.Model(inputs, value)
    for place, (layer, each) in enumerate(zip(layers, made, strict=True)):
        if layer.shapes:
            each.set_weights([_to_keras(name, weights[f"{place}.{name}"]) for name in layer.shapes])
    return model


def _to_keras(name: str, weight: Array) -> Array:
    """Put a weight's outputs last, as Keras has it."""
    if name == "vectors":
        return weight
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T


def _from_keras(name: str, weight: Array) -> Array:
    if name == "vectors":
        return weight
    return weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T


def limit_threads(count: int) -> None:
    """Compute with so many threads; a process that has computed already goes on with those it has."""
    with suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(count)
        tf.config.threading.set_inter_op_parallelism_threads(1)


class KerasNetwork:
    """A model, its loss and its optimizer, on the GPU if there is one.

    Parameters
    ----------
    build : callable
        Builds the model, to compute in a precision.
    on_cpu : bool
        Whether to leave the GPU alone.
    """

    def __init__(self, build: Callable[[str], Any], params: Params, *, on_cpu: bool = False) -> None:
        tf.config.experimental.enable_op_determinism()
        if on_cpu:
            with suppress(RuntimeError):  # what has computed already keeps its GPU, but does not need it
                tf.config.set_visible_devices([], "GPU")
        self._build, self._params = build, params
        self._gpu = bool(tf.config.get_visible_devices("GPU"))
        self._mixed = params["precision"] == "mixed" and self._gpu
        self.model = build("mixed_bfloat16" if self._mixed else "float32")
        self._loss = _LOSSES[params["loss"]](params)
        self._optimizer = _OPTIMIZERS[params["optimizer"]](params)
        self._optimizer.build(self.model.trainable_variables)
        self._epoch = tf.function(self._learn_all, reduce_retracing=True)
        self._part = tf.function(self._learn_part, reduce_retracing=True)
        self._whole = tf.function(self._step_together)
        self.notes = tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if not self._gpu:
            yield "TensorFlow found no GPU: trained on the CPU"
        if self._params["precision"] == "mixed" and not self._mixed:
            yield "precision mixed needs a GPU: trained in single precision"

    def _begin(self, rate: float, seed: int) -> None:
        self._optimizer.learning_rate.assign(rate)
        for place, layer in enumerate(self._dropouts()):
            layer.seed_generator.state.assign([seed, place])

    def learn(self, pieces: Iterable[Batch], rate: float, seed: int) -> float:  # noqa: D102
        self._begin(rate, seed)
        total, count = 0.0, 0
        for rows in pieces:
            weights = np.ones(len(rows.target), np.float32) if rows.weights is None else rows.weights
            tensors = [tf.constant(each) for each in (rows.features, rows.target, weights)]
            total += float(self._epoch(*tensors))
            count += len(rows.target)
        return total / count

    def _dropouts(self) -> list[Any]:
        return [each for each in self.model.layers if isinstance(each, keras.layers.Dropout)]

    def _learn_all(self, features: Any, target: Any, weights: Any) -> Any:
        size, rows = self._params["batch_size"], tf.shape(target)[0]
        total = tf.constant(0.0, tf.float64)
        for start in tf.range(0, rows, size):
            end = tf.minimum(start + size, rows)
            loss = self._learn_batch(features[start:end], target[start:end], weights[start:end])
            total += tf.cast(loss, tf.float64) * tf.cast(end - start, tf.float64)
        return total

    def _learn_batch(self, features: Any, target: Any, weights: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = self._mean_loss(self.model(features, training=True), target, weights)
        gradients = tape.gradient(loss, self.model.trainable_variables)
        self._step([tf.convert_to_tensor(each) for each in gradients])  # those of words are sparse
        return loss

    def _step(self, gradients: Sequence[Any]) -> None:
        variables = self.model.trainable_variables
        if self._params["clip_norm"] is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, self._params["clip_norm"])
        if decay := self._params["weight_decay"]:
            for each in variables:
                each.assign(each * (1 - self._optimizer.learning_rate * decay))
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def learn_shards(self, shards: Iterable[Shard], rate: float, seed: int, group: Group) -> tuple[float, int]:  # noqa: D102
        self._begin(rate, seed)
        total, count = 0.0, 0
        for shard in shards:
            tensors = [tf.constant(each) for each in (shard.rows.features, shard.rows.target, shard.shares)]
            for part, size in zip(shard.parts, shard.sizes, strict=True):
                loss, gradients = self._part(*(each[part] for each in tensors))
                summed = np.asarray(gradients).copy()
                group.add_up(summed)
                self._whole(tf.constant(summed))
                total += float(loss) * size
            count += sum(shard.sizes)
        return total, count

    def _learn_part(self, features: Any, target: Any, shares: Any) -> tuple[Any, Any]:
        """Return the loss of this process's rows of a batch, and its gradients, one after another."""
        with tf.GradientTape() as tape:
            losses = self._loss(tf.cast(self.model(features, training=True), tf.float32), target)
            loss = tf.reduce_sum(losses * shares)
        gradients = tape.gradient(loss, self.model.trainable_variables, unconnected_gradients="zero")
        return loss, tf.concat([tf.reshape(each, [-1]) for each in gradients], 0)

    def _step_together(self, summed: Any) -> None:
        variables = self.model.trainable_variables
        parts = tf.split(summed, [math.prod(each.shape) for each in variables])
        self._step([tf.reshape(part, each.shape) for part, each in zip(parts, variables, strict=True)])

    def _mean_loss(self, outputs: Any, target: Any, weights: Any) -> Any:
        losses = self._loss(tf.cast(outputs, tf.float32), target)
        return tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)

    def judge(self, rows: Batch) -> float:  # noqa: D102
        weights = np.ones(len(rows.target), np.float32) if rows.weights is None else rows.weights
        outputs = self.model(rows.features, training=False)
        return float(self._mean_loss(outputs, rows.target, weights))

    def _kept(self) -> dict[str, Any]:
        """Return everything that changes in training, by a name that is the same in another process."""
        variables = {"model": self.model.weights, "optimizer": self._optimizer.variables}
        return {f"{kind}.{place}": each for kind, listed in variables.items() for place, each in enumerate(listed)}

    def state(self) -> Weights:  # noqa: D102
        return {name: np.asarray(each).copy() for name, each in self._kept().items()}

    def restore(self, state: Mapping[str, Array]) -> None:  # noqa: D102
        for name, each in self._kept().items():
            each.assign(state[name])

    def close(self) -> None:
        """Nothing else learns with it."""

    def predictor(self) -> Predict:  # noqa: D102
        exact = self._build("float64")
        exact.set_weights([each.astype(np.float64) for each in self.model.get_weights()])

        def predict(features: Array) -> Floats:
            starts = range(0, max(len(features), 1), _PREDICTED)
            parts = (features[start : start + _PREDICTED].astype(np.float64) for start in starts)
            return np.concatenate([np.asarray(exact(part, training=False)) for part in parts])

        return predict

    def weights(self) -> Weights:  # noqa: D102
        found: Weights = {}
        for place, layer in enumerate(self.model.layers[1:]):  # the first one is the input
            names = ("vectors",) if isinstance(layer, Embedding) else ("weight", "bias")
            for name, value in zip(names, layer.get_weights(), strict=False):
                if not isinstance(layer, keras.layers.Dropout):
                    found[f"{place}.{name}"] = _from_keras(name, value)
        return found
