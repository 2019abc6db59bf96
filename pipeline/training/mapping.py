"""Rows that need not fit into memory: matrices in files, read and put in order a block at a time.

Whoever goes through rows by these functions finds the same, in the same order, whether they are in memory or in a file.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.errors import ModelrailError
from pipeline.training.results import Array

BLOCK_BYTES = 64 * 2**20
"""Of the features that are looked at together, about."""
MAX_BLOCK_ROWS = 65_536
_FEW = 256


def map_rows(rows: int, columns: int, folder: Path) -> Array:
    """Make a matrix (float32) in a file that has no name any more, so that nothing is left of it whatever happens.

    Raises
    ------
    ModelrailError
        There is no room for it.
    """
    if not rows * columns:
        return np.empty((rows, columns), np.float32)
    handle, name = tempfile.mkstemp(prefix="rows-", dir=folder)
    try:
        _allocate(handle, 4 * rows * columns)
        return np.memmap(name, np.float32, "r+", shape=(rows, columns))
    except OSError as error:
        size = f"{4 * rows * columns / 1e9:.1f} GB"
        raise ModelrailError(
            f"train: found no room for {size} of rows in {folder} ({error.strerror}); expected it, and as much again "
            "while a network learns (MODELRAIL_HOME)"
        ) from error
    finally:
        os.close(handle)
        Path(name).unlink()


def _allocate(handle: int, size: int) -> None:
    """Take the room now: where the disk is full later, the process would be killed without a word."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:
        os.truncate(handle, size)


def let_go(features: Array) -> None:
    """Count what was read or written no longer as this process's memory; it stays in the system's cache, or on disk."""
    if isinstance(features, np.memmap):
        features._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # noqa: SLF001  (nothing else gives it)


def block_rows(columns: int, size: int | None = None) -> int:
    """Give how many rows are looked at together: as many as have so many bytes."""
    return min(max((size or BLOCK_BYTES) // (4 * max(columns, 1)), 1), MAX_BLOCK_ROWS)


def blocks(features: Array, rows: int | None = None) -> Iterator[Array]:
    """Give rows, so many at a time, in their order."""
    size = rows or block_rows(features.shape[1])
    for start in range(0, len(features), size):
        yield features[start : start + size]
        let_go(features)


def take_rows(features: Array, places: Array) -> Array:
    """Give rows by their places: in a file, if they are in one."""
    if not isinstance(features, np.memmap):
        return features[places]
    found = _map_beside(features, len(places))
    size = block_rows(features.shape[1])
    for start in range(0, len(places), size):
        found[start : start + size] = features[places[start : start + size]]
        let_go(found)
        let_go(features)
    return found


def few_rows(features: Array, places: Array) -> Array:
    """Give a few rows by their places, in memory; the system reads what is around each, too."""
    found = np.empty((len(places), *features.shape[1:]), features.dtype)
    for start in range(0, len(places), _FEW):
        found[start : start + _FEW] = features[places[start : start + _FEW]]
        let_go(features)
    return found


def _map_beside(features: Array, rows: int) -> Array:
    return map_rows(rows, features.shape[1], Path(str(features.filename)).parent)  # type: ignore[attr-defined]


def in_order(features: Array, order: Array, size: int) -> Iterator[Array]:
    """Give rows in an order, so many at a time.

    Rows in a file are not looked up one by one, which would read a page of the disk for each, but sorted by the piece
    that they belong to, in a second file: both are read and written from beginning to end.
    """
    if not isinstance(features, np.memmap):
        for start in range(0, len(order), size):
            yield features[order[start : start + size]]
        return
    by_piece = _sort_by_piece(features, order, size)
    for start in range(0, len(order), size):
        yield by_piece[start : start + size][_ranks(order[start : start + size])]
        let_go(by_piece)


def _ranks(places: Array) -> Array:
    """Give where each place stands among all, in order."""
    ranks = np.empty(len(places), np.int64)
    ranks[np.argsort(places)] = np.arange(len(places))
    return ranks


def _sort_by_piece(features: Array, order: Array, size: int) -> Array:
    """Put rows where their piece of the order begins; in it they stand as they did."""
    piece_of = np.empty(len(order), np.int32)
    starts = np.arange(0, len(order), size)
    for piece, start in enumerate(starts.tolist()):
        piece_of[order[start : start + size]] = piece
    found = _map_beside(features, len(order))
    free = starts.copy()
    for start in range(0, len(order), size):
        pieces = piece_of[start : start + size]
        counts = np.bincount(pieces, minlength=len(starts))
        moved = features[start : start + size][np.argsort(pieces, kind="stable")]
        ends = np.cumsum(counts)
        for piece in np.flatnonzero(counts).tolist():
            count = counts[piece]
            found[free[piece] : free[piece] + count] = moved[ends[piece] - count : ends[piece]]
        free += counts
        let_go(found)
        let_go(features)
    return found
