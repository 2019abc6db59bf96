"""Small partitions are cleaned and transformed in packs: by itself each would cost many times what its rows do.

A pack is a run of neighbours, made anew where one of them changed. Where it begins is told by a partition's name and
size alone, so that partitions that come or change leave the other packs as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from pipeline.storage.git.repository import File, FileGroup

FEW = 100
"""Up to as many partitions each stands by itself: there is little to gain."""
SMALL_BYTES = 64 * 2**10
"""Of a file that may share a pack."""
_USUAL, _MOST = 64, 256
"""Partitions of a pack, on average and at most."""
_MOST_BYTES = 4 * 2**20


def pack(partitions: Mapping[str, File], total: int) -> dict[str, tuple[str, ...]]:
    """Group partitions: the first one of each pack → all that are in it, in their order.

    Parameters
    ----------
    partitions : mapping
        Key → file, sorted by key.
    total : int
        Partitions of the data commit, those that an as-of date leaves out included.
    """
    packs: dict[str, list[str]] = {}
    first, size = "", 0
    for key, file in partitions.items():
        small = total > FEW and file.bytes <= SMALL_BYTES and not isinstance(file, FileGroup)
        full = not first or len(packs[first]) >= _MOST or size + file.bytes > _MOST_BYTES
        if full or not small or _begins(key):
            first, size = key, 0
        packs.setdefault(first, []).append(key)
        size += file.bytes
        if not small:
            first = ""
    return {first: tuple(keys) for first, keys in packs.items()}


def _begins(key: str) -> bool:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) % _USUAL == 0
