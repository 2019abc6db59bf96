"""A worker of Keras': ``python -m pipeline.steps.train.neural.keras_worker PLACE INDEX SIZE ADDRESS``."""

from __future__ import annotations

import sys

from pipeline.steps.train.neural.keras_network import KerasNetwork, build_model, limit_threads
from pipeline.steps.train.neural.layers import initial_weights
from pipeline.steps.train.neural.own_keras import build_own_model
from pipeline.steps.train.neural.socket_rendezvous import SocketMember
from pipeline.steps.train.neural.worker import work
from pipeline.steps.train.neural.workers import Description


def _build(told: Description) -> KerasNetwork:
    if told.threads is not None:
        limit_threads(told.threads)
    if told.layers:
        weights = initial_weights(told.layers, 0)
        return KerasNetwork(lambda dtype: build_model(told.layers, weights, dtype), told.params, on_cpu=True)
    own = (told.params, told.inputs, told.outputs, told.seed)
    return KerasNetwork(lambda dtype: build_own_model(*own, dtype), told.params, on_cpu=True)


if __name__ == "__main__":
    work(sys.argv[1:], SocketMember, _build)
