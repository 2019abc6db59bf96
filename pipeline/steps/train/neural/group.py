"""Processes that learn one network together.

Each has a copy of the network. The first process (rank 0) sends the others their rows of each piece; in each step
all add up their gradients, so all copies stay the same. What carries it is a framework's own (`Wire`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from pipeline.steps.train.neural.network import Batch
from pipeline.steps.train.neural.shards import Shard, bounds, parts, sizes
from pipeline.steps.train.results import Array

PIECE, EPOCH = 1.0, 2.0
TIMEOUT_S = 300
"""Seconds that a process waits for the others: in the beginning, and in a step."""


class LostError(RuntimeError):
    """Another process of the group is gone, or does not answer."""


@contextmanager
def lost_by(kind: type[Exception]) -> Iterator[None]:
    """Tell errors of a kind, by which a wire says that another process is gone, from those of this one."""
    try:
        yield
    except kind as error:
        raise LostError(str(error) or "it does not answer") from error


class Wire(Protocol):
    """What connects a process with the others; every method raises LostError. Arrays are contiguous."""

    @property
    def rank(self) -> int:
        """Number of this process; the first one's is 0."""

    @property
    def size(self) -> int:
        """How many processes there are."""

    def broadcast(self, values: Array) -> None:
        """Replace values by the first process's."""

    def add_up(self, values: Array) -> None:
        """Replace values by their sum over all processes, which is the same to the bit in each."""

    def give(self, values: Array, rank: int) -> None:
        """Send values from the first process to another."""

    def take(self, values: Array) -> None:
        """Replace values by those that the first process gives."""

    def close(self) -> None:
        """Close the connections, by which the others notice."""


class Group:
    """A process's connection with the others; every method raises LostError if one is lost."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.rank, self.size = wire.rank, wire.size

    def leave(self) -> None:
        """End it for all."""
        self._wire.close()

    def announce(self, *facts: float) -> list[float]:
        """Tell all what comes next: the first process's facts are given to each."""
        told = np.array(facts, np.float64)
        self._wire.broadcast(told)
        return [float(each) for each in told]

    def share(self, content: bytes = b"") -> bytes:
        """Return each the first process's bytes."""
        (size,) = self.announce(len(content))
        told = np.zeros(int(size), np.uint8)
        if self.rank == 0:
            told[:] = np.frombuffer(content, np.uint8)
        self._wire.broadcast(told)
        return told.tobytes()

    def add_up(self, values: Array) -> None:
        """Replace values by their sum over all processes."""
        self._wire.add_up(values)

    def send(self, shard: Shard, rank: int) -> None:
        """Send a worker its rows."""
        for values in (shard.rows.features, shard.rows.target, shard.shares):
            self._wire.give(np.ascontiguousarray(values), rank)

    def receive(self, rows: int, batch_size: int, columns: int, target: Any) -> Shard:
        """Receive this worker's rows of a piece of so many, with targets of that type."""
        limits = [end - start for start, end in bounds(rows, batch_size, self.size, self.rank)]
        own = sum(limits)
        features, targets = np.empty((own, columns), np.float32), np.empty(own, target)
        shares = np.empty(own, np.float32)
        for values in (features, targets, shares):
            self._wire.take(values)
        return Shard(Batch(features, targets, None), shares, parts(limits), sizes(rows, batch_size))


class Sharing(Protocol):
    """A network that can learn its part of each batch."""

    def learn_shards(self, shards: Iterable[Shard], rate: float, seed: int, group: Group) -> tuple[float, int]:
        """Go through this process's part of an epoch, and add up the gradients with the group's in each step.

        Returns
        -------
        tuple of float and int
            The sum of this process's losses, each times the rows of its whole batch; the rows of all processes.
        """


def follow(network: Sharing, group: Group, batch_size: int, columns: int, target: Any) -> None:
    """Do a worker's part, epoch by epoch, until the first process ends it."""
    while True:
        _, pieces, rate, seed = group.announce(0, 0, 0, 0)
        continue_epoch(network, group, rate, int(seed), _received(group, int(pieces), batch_size, columns, target))


def _received(group: Group, pieces: int, batch_size: int, columns: int, target: Any) -> Iterator[Shard]:
    for _ in range(pieces):
        _, rows, _, _ = group.announce(0, 0, 0, 0)
        yield group.receive(int(rows), batch_size, columns, target)


def continue_epoch(network: Sharing, group: Group, rate: float, seed: int, own: Iterable[Shard]) -> float:
    """Learn this process's shards of an epoch; give the mean loss over the rows of all."""
    total, count = network.learn_shards(own, rate, seed + group.rank, group)
    summed = np.array([total])
    group.add_up(summed)
    return float(summed[0]) / count
