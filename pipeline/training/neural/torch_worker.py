"""A worker: ``python -m pipeline.training.neural.torch_worker FOLDER RANK``; the folder says what it works on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from safetensors.numpy import load_file

from pipeline.training.neural.layers import Layer, initial_weights
from pipeline.training.neural.own_torch import build_own_module
from pipeline.training.neural.torch_group import JOB, STATE, Group, follow, ready
from pipeline.training.neural.torch_network import TorchNetwork, build_module


def work(folder: Path, rank: int) -> None:
    """Build the network that the folder describes, and follow the first process until it ends this one."""
    job = json.loads((folder / JOB).read_text("utf-8"))
    torch.set_num_threads(job["threads"])
    layers = [Layer(**{**each, "size": tuple(each["size"])}) for each in job["layers"]]
    module = (
        build_module(layers, initial_weights(layers, 0))
        if layers
        else build_own_module(job["params"], job["inputs"], job["outputs"], job["seed"])
    )
    network = TorchNetwork(module, job["params"], "cpu")
    network.restore(load_file(folder / STATE))
    ready(folder, rank).touch()
    target = torch.int64 if job["params"]["loss"] == "cross_entropy" else torch.float32
    follow(network, Group(folder, rank, job["workers"]), job["params"]["batch_size"], job["inputs"], target)


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
