"""Processes on one machine that learn one network together, by PyTorch's Gloo over the loopback interface.

Each has a copy of the network. The first process (rank 0) sends the others their rows of each piece; in each step
all add up their gradients, so all copies stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import FileStore
from torch.distributed.distributed_c10d import ProcessGroupGloo

from pipeline.training.neural.network import Batch
from pipeline.training.neural.shards import Shard, bounds, parts, sizes
from pipeline.training.neural.torch_network import TorchNetwork

STATE, JOB, RENDEZVOUS = "state.safetensors", "job.json", "rendezvous"
PIECE, EPOCH = 1.0, 2.0
TIMEOUT_S = 300
"""Seconds that a process waits for the others: in the beginning, and in a step."""


def ready(folder: Path, rank: int) -> Path:
    """Give the file by which a worker says that it is there."""
    return folder / f"{rank}.ready"


class Group:
    """A process's seat among the others.

    The processes find each other by a file in a folder that only this user reads, and listen on the loopback interface
    alone.
    """

    def __init__(self, folder: Path, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        options: Any = ProcessGroupGloo._Options()  # noqa: SLF001  (the only way to name the interface but a variable)
        options._devices = [ProcessGroupGloo.create_device(hostname="127.0.0.1")]  # noqa: SLF001
        options._timeout = timedelta(seconds=TIMEOUT_S)  # noqa: SLF001
        self._gloo: Any = ProcessGroupGloo(FileStore(str(folder / RENDEZVOUS), size), rank, size, options)

    def announce(self, *facts: float) -> list[float]:
        """Tell all what comes next: the first process's facts are given to each."""
        told = torch.tensor(facts, dtype=torch.float64)
        self._gloo.broadcast(told, 0).wait()
        return [float(each) for each in told]

    def add_up(self, values: Tensor) -> None:
        """Replace values by their sum over all processes."""
        self._gloo.allreduce([values]).wait()

    def join(self, learnt: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their sums over all processes, in one message."""
        gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in learnt]
        flat = torch.cat([each.reshape(-1) for each in gradients])
        self.add_up(flat)
        for each, summed in zip(learnt, flat.split([each.numel() for each in gradients]), strict=True):
            each.grad = summed.view_as(each).to(each.dtype)

    def send(self, shard: Shard, rank: int) -> None:
        """Send a worker its rows."""
        for values in (shard.rows.features, shard.rows.target, shard.shares):
            self._gloo.send([torch.from_numpy(values)], rank, 0).wait()

    def receive(self, rows: int, batch_size: int, columns: int, target: torch.dtype) -> Shard:
        """Receive this worker's rows of a piece of so many."""
        limits = [end - start for start, end in bounds(rows, batch_size, self.size, self.rank)]
        own = sum(limits)
        got = [torch.empty((own, columns)), torch.empty(own, dtype=target), torch.empty(own)]
        for values in got:
            self._gloo.recv([values], 0, 0).wait()
        features, targets, shares = (values.numpy() for values in got)
        return Shard(Batch(features, targets, None), shares, parts(limits), sizes(rows, batch_size))


def follow(network: TorchNetwork, group: Group, batch_size: int, columns: int, target: torch.dtype) -> None:
    """Do a worker's part, epoch by epoch, until the first process ends it."""
    while True:
        _, pieces, rate, seed = group.announce(0, 0, 0, 0)
        continue_epoch(network, group, rate, int(seed), _received(group, int(pieces), batch_size, columns, target))


def _received(group: Group, pieces: int, batch_size: int, columns: int, target: torch.dtype) -> Any:
    for _ in range(pieces):
        _, rows, _, _ = group.announce(0, 0, 0, 0)
        yield group.receive(int(rows), batch_size, columns, target)


def continue_epoch(network: TorchNetwork, group: Group, rate: float, seed: int, own: Any) -> float:
    """Learn this process's shards of an epoch; give the mean loss over the rows of all."""
    total = torch.zeros(1, dtype=torch.float64)
    count = network.learn_shards(own, rate, seed + group.rank, group.join, total)
    group.add_up(total)
    return float(total) / count
