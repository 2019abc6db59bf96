"""Plain sockets between the first process and each of the others.

The first process adds up in the order of ranks and tells the sum to all, so it is the same in every run, for everybody.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.steps.train.neural.group import TIMEOUT_S, LostError, lost_by
from pipeline.steps.train.results import Array


def receive(connected: socket.socket, into: Any) -> Any:
    """Fill a buffer; raises LostError if the other end is closed."""
    left = memoryview(into).cast("B")
    while len(left):
        count = connected.recv_into(left)
        if not count:
            raise LostError("the connection was closed")
        left = left[count:]
    return into


class SocketWire:
    """`Wire` of sockets: of the first process to each of the others, of these to the first one.

    Parameters
    ----------
    others : mapping
        Connected sockets, by rank; they are closed with it.
    """

    def __init__(self, rank: int, size: int, others: Mapping[int, socket.socket]) -> None:
        self.rank, self.size = rank, size
        self._others = dict(sorted(others.items()))
        for each in self._others.values():
            each.settimeout(TIMEOUT_S)
            if each.family != socket.AF_UNIX:
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:  # noqa: D102
        for each in self._others.values():
            each.close()

    def broadcast(self, values: Array) -> None:  # noqa: D102
        if self.rank:
            self.take(values)
            return
        for rank in self._others:
            self.give(values, rank)

    def add_up(self, values: Array) -> None:  # noqa: D102
        if self.rank:
            self.give(values, 0)
            self.take(values)
            return
        theirs = np.empty_like(values)
        for each in self._others.values():
            with lost_by(OSError):
                receive(each, _bytes(theirs))
            values += theirs
        self.broadcast(values)

    def give(self, values: Array, rank: int) -> None:  # noqa: D102
        with lost_by(OSError):
            self._others[rank].sendall(_bytes(values))

    def take(self, values: Array) -> None:  # noqa: D102
        with lost_by(OSError):
            receive(self._others[0], _bytes(values))


def _bytes(values: Array) -> memoryview:
    """Return the bytes of an array, without a copy."""
    return values.reshape(-1).view(np.uint8).data
