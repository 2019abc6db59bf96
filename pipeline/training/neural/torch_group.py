"""Processes that learn one network together, by PyTorch's Gloo.

Each has a copy of the network. The first process (rank 0) sends the others their rows of each piece; in each step
all add up their gradients, so all copies stay the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import Store
from torch.distributed.distributed_c10d import ProcessGroupGloo

from pipeline.training.neural.network import Batch
from pipeline.training.neural.shards import Shard, bounds, parts, sizes
from pipeline.training.neural.torch_network import TorchNetwork

PIECE, EPOCH = 1.0, 2.0
TIMEOUT_S = 300
"""Seconds that a process waits for the others: in the beginning, and in a step."""


class LostError(RuntimeError):
    """Another process of the group is gone, or does not answer."""


@contextmanager
def _others() -> Iterator[None]:
    """Tell errors that come of the other processes from those of this one."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(str(error)) from error


class Group:
    """A process's seat among the others.

    Parameters
    ----------
    store : Store
        By which the processes of this group, and no other, tell each other where they listen.
    address : str
        On which this one listens.

    Raises
    ------
    LostError
        From every method.
    """

    def __init__(self, store: Store, rank: int, size: int, address: str) -> None:
        self.rank, self.size = rank, size
        options: Any = ProcessGroupGloo._Options()  # noqa: SLF001  (the only way to name the interface but a variable)
        options._devices = [ProcessGroupGloo.create_device(hostname=address)]  # noqa: SLF001
        options._timeout = timedelta(seconds=TIMEOUT_S)  # noqa: SLF001
        with _others():
            self._gloo: Any = ProcessGroupGloo(store, rank, size, options)

    def leave(self) -> None:
        """Close the connections, by which the others notice."""
        self._gloo = None

    def announce(self, *facts: float) -> list[float]:
        """Tell all what comes next: the first process's facts are given to each."""
        told = torch.tensor(facts, dtype=torch.float64)
        self._broadcast(told)
        return [float(each) for each in told]

    def share(self, content: bytes = b"") -> bytes:
        """Give each the first process's bytes."""
        (size,) = self.announce(len(content))
        told = torch.zeros(int(size), dtype=torch.uint8)
        if self.rank == 0 and content:
            told = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        self._broadcast(told)
        return bytes(told.numpy())

    def _broadcast(self, told: Tensor) -> None:
        with _others():
            self._gloo.broadcast(told, 0).wait()

    def add_up(self, values: Tensor) -> None:
        """Replace values by their sum over all processes."""
        with _others():
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
        with _others():
            for values in (shard.rows.features, shard.rows.target, shard.shares):
                self._gloo.send([torch.from_numpy(values)], rank, 0).wait()

    def receive(self, rows: int, batch_size: int, columns: int, target: torch.dtype) -> Shard:
        """Receive this worker's rows of a piece of so many."""
        limits = [end - start for start, end in bounds(rows, batch_size, self.size, self.rank)]
        own = sum(limits)
        got = [torch.empty((own, columns)), torch.empty(own, dtype=target), torch.empty(own)]
        with _others():
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
