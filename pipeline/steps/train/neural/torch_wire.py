"""PyTorch's Gloo between processes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from torch.distributed import Store
from torch.distributed.distributed_c10d import ProcessGroupGloo

from pipeline.steps.train.neural.group import TIMEOUT_S, lost_by
from pipeline.steps.train.results import Array


class Gloo:
    """`Wire` of processes that find each other by a store.

    Parameters
    ----------
    store : Store
        By which the processes of this group, and no other, tell each other where they listen.
    address : str
        On which this one listens.
    """

    def __init__(self, store: Store, rank: int, size: int, address: str) -> None:
        self.rank, self.size = rank, size
        options: Any = ProcessGroupGloo._Options()  # noqa: SLF001  (the only way to name the interface but a variable)
        options._devices = [ProcessGroupGloo.create_device(hostname=address)]  # noqa: SLF001
        options._timeout = timedelta(seconds=TIMEOUT_S)  # noqa: SLF001
        with lost_by(RuntimeError):
            self._gloo: Any = ProcessGroupGloo(store, rank, size, options)

    def close(self) -> None:  # noqa: D102
        self._gloo = None

    def broadcast(self, values: Array) -> None:  # noqa: D102
        with lost_by(RuntimeError):
            self._gloo.broadcast(torch.from_numpy(values), 0).wait()

    def add_up(self, values: Array) -> None:  # noqa: D102
        with lost_by(RuntimeError):
            self._gloo.allreduce([torch.from_numpy(values)]).wait()

    def give(self, values: Array, rank: int) -> None:  # noqa: D102
        with lost_by(RuntimeError):
            self._gloo.send([torch.from_numpy(values)], rank, 0).wait()

    def take(self, values: Array) -> None:  # noqa: D102
        with lost_by(RuntimeError):
            self._gloo.recv([torch.from_numpy(values)], 0, 0).wait()
