"""A worker of PyTorch's: ``python -m pipeline.steps.train.neural.torch_worker PLACE INDEX SIZE ADDRESS``."""

from __future__ import annotations

import sys

import torch

from pipeline.steps.train.neural.layers import initial_weights
from pipeline.steps.train.neural.own_torch import build_own_module
from pipeline.steps.train.neural.torch_network import TorchNetwork, build_module
from pipeline.steps.train.neural.torch_rendezvous import StoreMember
from pipeline.steps.train.neural.worker import work
from pipeline.steps.train.neural.workers import Description


def _build(told: Description) -> TorchNetwork:
    if told.threads is not None:
        torch.set_num_threads(told.threads)
    module = (
        build_module(told.layers, initial_weights(told.layers, 0))
        if told.layers
        else build_own_module(told.params, told.inputs, told.outputs, told.seed)
    )
    return TorchNetwork(module, told.params, "cpu")


if __name__ == "__main__":
    work(sys.argv[1:], StoreMember, _build)
