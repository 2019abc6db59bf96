"""Meetings at a store of PyTorch's, as with ``torchrun``: a file, or served by the first process."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from torch.distributed import FileStore, PrefixStore, Store, TCPStore

from pipeline.steps.train.neural.group import TIMEOUT_S
from pipeline.steps.train.neural.rendezvous import LOOPBACK, Framework, tcp_place
from pipeline.steps.train.neural.torch_wire import Gloo

_TIMEOUT = timedelta(seconds=TIMEOUT_S)
_NOW = "round"


class StoreRendezvous:
    """`Rendezvous` at a store."""

    def __init__(self, store: Store, place: str, size: int, address: str) -> None:
        self.place = place
        self._store, self._size, self._address, self._round = store, size, address, 0

    def begin(self) -> None:  # noqa: D102
        self._round += 1
        self._store.set(_NOW, str(self._round))
        self._store.set(f"{self._round}/begun", "")

    def is_complete(self) -> bool:  # noqa: D102
        return bool(self._store.check([f"{self._round}/{rank}" for rank in range(1, self._size)]))

    def connect(self) -> Gloo:  # noqa: D102
        return _connect(self._store, self._round, 0, self._size, self._address)

    def close(self) -> None:
        """Serve the store no longer than this object is there."""


class StoreMember:
    """`Member` at a store: it is taken by the first who comes in a round."""

    def __init__(self, place: str, rank: int, size: int, address: str) -> None:
        self._store, self._rank, self._size, self._address = _open(place, size), rank, size, address
        self._last = 0

    def join(self) -> Gloo:  # noqa: D102
        while True:
            now = int(self._store.get(_NOW))
            if now > self._last and self._store.add(f"{now}/rank/{self._rank}", 1) == 1:
                break
            self._last = max(now, self._last)
            self._store.wait([f"{self._last + 1}/begun"])
        self._last = now
        self._store.set(f"{now}/{self._rank}", "")
        return _connect(self._store, now, self._rank, self._size, self._address)


def _connect(store: Store, round_: int, rank: int, size: int, address: str) -> Gloo:
    """Connect with the others of a round; when this returns, nobody needs the store any more."""
    wire = Gloo(PrefixStore(f"{round_}/gloo", store), rank, size, address)
    wire.add_up(np.zeros(1))
    return wire


def _open(place: str, size: int) -> Store:
    """Open the store of a place; the shared secret stands before the name of every key."""
    parts = urlsplit(place)
    if parts.scheme == "file":
        return FileStore(parts.path, size)
    return PrefixStore(
        parts.path.strip("/"), TCPStore(str(parts.hostname), int(parts.port or 0), None, False, _TIMEOUT)
    )


def open_here(path: Path, size: int) -> StoreRendezvous:
    """Meet at a file."""
    return StoreRendezvous(FileStore(str(path), size), path.as_uri(), size, LOOPBACK)


def open_at(address: str, secret: str, size: int) -> StoreRendezvous:
    """Serve a store from this process, on a port that is free."""
    served: Any = TCPStore(address, 0, None, True, _TIMEOUT, wait_for_workers=False)
    return StoreRendezvous(PrefixStore(secret, served), tcp_place(address, served.port, secret), size, address)


TORCH = Framework("pipeline.steps.train.neural.torch_worker", open_here, open_at)
