"""Layers over sequences of words in Keras; each passes on which places have a word.

Values have the shape (rows, places, channels), and 1 or 0 for each place (rows, places, 1).
"""

from __future__ import annotations

from typing import Any

from pipeline.steps.train.neural.layers import FAR_BELOW, UNKNOWN, Layer
from pipeline.steps.train.neural.quiet_keras import keras, tf


class Embedding(keras.layers.Layer):  # type: ignore[misc]
    """Word numbers become vectors."""

    def __init__(self, layer: Layer, dtype: str) -> None:
        super().__init__(dtype=dtype, autocast=False)  # numbers of words are not rounded
        self.vectors = self.add_weight(layer.size[1:], name="vectors")

    def call(self, rows: Any) -> Any:  # noqa: D102
        tokens = tf.cast(rows, tf.int32)
        tokens = tf.where((tokens >= 0) & (tokens < self.vectors.shape[0]), tokens, UNKNOWN)
        known = tf.cast(tokens > 0, self.compute_dtype)[..., None]
        return tf.gather(tf.cast(self.vectors, self.compute_dtype), tokens) * known, known


class SequenceConv(keras.layers.Layer):  # type: ignore[misc]
    """A convolution over neighbouring words, with its activation."""

    def __init__(self, layer: Layer, activation: Any, dtype: str) -> None:
        super().__init__(dtype=dtype)
        before, after, words = layer.size
        self._conv = keras.layers.Conv1D(after, words, padding="same", activation=activation, dtype=dtype)
        self._conv.build((None, None, before))

    def call(self, rows: Any) -> Any:  # noqa: D102
        values, known = rows
        return self._conv(values) * known, known


class SequencePool(keras.layers.Layer):  # type: ignore[misc]
    """The largest or the mean value of each channel; 0 for a text without words."""

    def __init__(self, layer: Layer, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self._largest = layer.how == "max"

    def call(self, rows: Any) -> Any:  # noqa: D102
        values, known = rows
        if self._largest:
            below = tf.constant(FAR_BELOW, values.dtype)
            return tf.reduce_max(tf.where(known > 0, values, below), 1) * tf.reduce_max(known, 1)
        return tf.reduce_sum(values, 1) / tf.maximum(tf.reduce_sum(known, 1), 1)
