"""How the processes of a group find each other: by a store that all of them reach, in rounds.

A round is one attempt. The first process (rank 0) begins it, each worker takes its seat in it, and when all seats are
taken they connect. Who was started in place of a lost worker finds the seat taken, and waits for the next round.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import torch
from torch.distributed import FileStore, PrefixStore, Store, TCPStore

from pipeline.training.neural.torch_group import TIMEOUT_S, Group

_TIMEOUT = timedelta(seconds=TIMEOUT_S)
_NOW = "round"


def open_place(place: str, size: int) -> Store:
    """Open the store of a place: ``file:///PATH``, or ``tcp://HOST:PORT/WORD`` where another process serves it.

    The word is what only those who belong together know: it stands before the name of every key.
    """
    parts = urlsplit(place)
    if parts.scheme == "file":
        return FileStore(parts.path, size)
    return PrefixStore(
        parts.path.strip("/"), TCPStore(str(parts.hostname), int(parts.port or 0), None, False, _TIMEOUT)
    )


def serve_place(address: str, word: str) -> tuple[Store, str]:
    """Serve a store from this process, on a port that is free; gives it with its place."""
    served: Any = TCPStore(address, 0, None, True, _TIMEOUT, wait_for_workers=False)
    host = f"[{address}]" if ":" in address else address
    return PrefixStore(word, served), f"tcp://{host}:{served.port}/{word}"


def begin(store: Store, round_: int) -> None:
    """Begin a round; the last one is over."""
    store.set(_NOW, str(round_))
    store.set(f"{round_}/begun", "")


def is_complete(store: Store, round_: int, size: int) -> bool:
    """Tell whether every worker has its seat."""
    return bool(store.check([f"{round_}/{rank}" for rank in range(1, size)]))


def attend(store: Store, rank: int, last: int) -> int:
    """Take a worker's seat in a round after its last one, as soon as there is one where it is free; gives the round.

    Raises
    ------
    RuntimeError
        The store is not served any more, or no round has begun for `TIMEOUT_S`.
    """
    while True:
        now = int(store.get(_NOW))
        if now > last and store.add(f"{now}/seat/{rank}", 1) == 1:
            store.set(f"{now}/{rank}", "")
            return now
        last = max(now, last)
        store.wait([f"{last + 1}/begun"])


def connect(store: Store, round_: int, rank: int, size: int, address: str) -> Group:
    """Connect with the others of a complete round; when this returns, nobody needs the store any more."""
    group = Group(PrefixStore(f"{round_}/gloo", store), rank, size, address)
    group.add_up(torch.zeros(1))
    return group
