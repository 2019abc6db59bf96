"""A worker: ``python -m pipeline.training.neural.torch_worker PLACE INDEX SIZE ADDRESS``.

It finds the others at a place (`torch_meeting`), as the worker with that index of a group of that size, and listens on
that address. What it works on, the first process tells it.
"""

from __future__ import annotations

import json
import sys

import torch
from safetensors.numpy import load

from pipeline.training.neural.layers import Layer, initial_weights
from pipeline.training.neural.own_torch import build_own_module
from pipeline.training.neural.torch_group import Group, LostError, follow
from pipeline.training.neural.torch_meeting import attend, connect, open_place
from pipeline.training.neural.torch_network import TorchNetwork, build_module


def work(place: str, index: int, size: int, address: str) -> None:
    """Follow the first process, from one round to the next, until it is gone."""
    store, rank, round_ = open_place(place, size), index + 1, 0
    while True:
        round_ = attend(store, rank, round_)
        try:
            _follow(connect(store, round_, rank, size, address))
        except LostError:
            if place.startswith("file:"):  # who started this one starts another
                return


def _follow(group: Group) -> None:
    """Build the network that the first process describes, with its weights, and learn it."""
    job, state = json.loads(group.share()), load(group.share())
    if job["threads"] is not None:
        torch.set_num_threads(job["threads"])
    layers = [Layer(**{**each, "size": tuple(each["size"])}) for each in job["layers"]]
    module = (
        build_module(layers, initial_weights(layers, 0))
        if layers
        else build_own_module(job["params"], job["inputs"], job["outputs"], job["seed"])
    )
    network = TorchNetwork(module, job["params"], "cpu")
    network.restore(state)
    target = torch.int64 if job["params"]["loss"] == "cross_entropy" else torch.float32
    follow(network, group, job["params"]["batch_size"], job["inputs"], target)


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
