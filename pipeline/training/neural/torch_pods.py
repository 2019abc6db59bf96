"""Workers that are pods beside the one of the step, connected over the network of pods."""

from __future__ import annotations

import secrets

from torch.distributed import Store

from pipeline.training.neural import torch_worker
from pipeline.training.neural.torch_group import Group
from pipeline.training.neural.torch_meeting import begin, connect, is_complete, serve_place
from pipeline.training.results import WorkerPods

_WORD_BYTES = 24


class Pods:
    """Pods that stay from one group to the next: who lives goes on, and who was lost is replaced by the cluster."""

    def __init__(self, size: int, pods: WorkerPods) -> None:
        self._size, self._pods, self._round = size, pods, 0
        self._store: Store | None = None

    @property
    def where(self) -> str:  # noqa: D102
        return f"{self._size} processes, {self._size - 1} of them in pods of their own"

    @property
    def threads(self) -> int | None:  # noqa: D102
        return None

    def gather(self) -> Group:  # noqa: D102
        store = self._store or self._start()
        self._round += 1
        begin(store, self._round)
        self._pods.wait(lambda: is_complete(store, self._round, self._size))
        return connect(store, self._round, 0, self._size, self._pods.address)

    def _start(self) -> Store:
        self._store, place = serve_place(self._pods.address, secrets.token_urlsafe(_WORD_BYTES))
        self._pods.start(self._size - 1, torch_worker.__name__, place)
        return self._store

    def explain(self) -> str | None:  # noqa: D102
        return self._pods.explain()

    def disband(self) -> None:
        """Leave them where they are: they wait for the next group."""

    def close(self) -> None:  # noqa: D102
        if self._store is not None:
            self._pods.end()
        self._store, self._round = None, 0
