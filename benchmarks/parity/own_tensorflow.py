"""A network of one's own for ``tensorflow_custom``."""

import keras


def build(inputs: int, outputs: int) -> keras.Model:
    layers = keras.layers
    hidden = [layers.Dense(32, activation="tanh"), layers.Dropout(0.1), layers.Dense(16), layers.ReLU()]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(outputs)])
