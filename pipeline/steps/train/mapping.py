"""Rows that need not fit into memory: matrices in files, written and read a block at a time.

Whoever goes through rows by these functions finds the same, in the same order, whether they are in memory or in a file.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pipeline.errors import ModelrailError
from pipeline.steps.train.results import Array

Span: TypeAlias = tuple[int, int]
"""Places of rows that stand beside each other: the first one, and the one after the last."""

BLOCK_BYTES = 64 * 2**20
"""Of the features that are looked at together, about."""
MAX_BLOCK_ROWS = 65_536
READ_BYTES = 256 * 2**10
"""That the system is asked for at once; of more it leaves out what is above the disk's own limit."""
_FEW = 256
_POPULATE_WRITE = 23
"""Linux's MADV_POPULATE_WRITE, which Python has no name for."""


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
            f"train: found no room for {size} of rows in {folder} ({error.strerror}); expected it (MODELRAIL_HOME)"
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
    _advise(features, mmap.MADV_DONTNEED)


def _advise(features: Array, advice: int) -> None:
    """Tell the system about all of the file that rows are in."""
    if isinstance(features, np.memmap):
        features._mmap.madvise(advice)  # type: ignore[attr-defined]  # noqa: SLF001  (nothing else gives it)


def _place(features: np.memmap[Any, Any]) -> tuple[mmap.mmap, int, int]:
    """Return the file that rows are in, and where in it their pages begin and they end."""
    whole: mmap.mmap = features._mmap  # type: ignore[attr-defined]  # noqa: SLF001  (nothing else gives it)
    start = features.ctypes.data - np.frombuffer(whole, np.uint8).ctypes.data
    return whole, start - start % mmap.PAGESIZE, start + features.nbytes


def fetch(features: Array) -> None:
    """Have rows of a file read from the disk meanwhile."""
    if isinstance(features, np.memmap) and features.size:
        whole, start, end = _place(features)
        for place in range(start, end, READ_BYTES):
            whole.madvise(mmap.MADV_WILLNEED, place, min(READ_BYTES, end - place))


@contextmanager
def writing(features: Array) -> Iterator[None]:
    """Write rows of a file in the block: their pages are made at once, and are on the disk at its end.

    One by one, making them takes nine times the CPU time; left to be written whenever the system likes, they fill a
    container's memory and hold up whatever else wants some of it.
    """
    if not isinstance(features, np.memmap) or not features.size:
        yield
        return
    whole, start, end = _place(features)
    with suppress(OSError):  # a system that does not know it makes them one by one
        whole.madvise(_POPULATE_WRITE, start, end - start)
    yield
    whole.flush(start, end - start)
    let_go(features)


def block_rows(columns: int, size: int | None = None) -> int:
    """Return how many rows are looked at together: as many as have so many bytes."""
    return min(max((size or BLOCK_BYTES) // (4 * max(columns, 1)), 1), MAX_BLOCK_ROWS)


def blocks(features: Array, rows: int | None = None) -> Iterator[Array]:
    """Return rows, so many at a time, in their order."""
    return (block for _, block in placed_blocks(features, rows))


def placed_blocks(features: Array, rows: int | None = None) -> Iterator[tuple[slice, Array]]:
    """Yield rows, so many at a time, in their order, with their places."""
    size = rows or block_rows(features.shape[1])
    fetch(features[:size])
    for start in range(0, len(features), size):
        fetch(features[start + size : start + 2 * size])
        block = features[start : start + size]
        yield slice(start, start + len(block)), block
        let_go(features)


def take_rows(features: Array, places: Array) -> Array:
    """Return rows by their places: in a file, if they are in one."""
    if not isinstance(features, np.memmap):
        return features[places]
    found = map_rows(len(places), features.shape[1], Path(str(features.filename)).parent)
    size = block_rows(features.shape[1])
    for start in range(0, len(places), size):
        part = found[start : start + size]
        with writing(part):
            part[:] = features[places[start : start + size]]
        let_go(features)
    return found


def few_rows(features: Array, places: Array) -> Array:
    """Return a few rows by their places, in memory."""
    found = np.empty((len(places), *features.shape[1:]), features.dtype)
    _advise(features, mmap.MADV_RANDOM)  # what is around each need not be read, too
    for start in range(0, len(places), _FEW):
        found[start : start + _FEW] = features[places[start : start + _FEW]]
        let_go(features)
    _advise(features, mmap.MADV_NORMAL)
    return found


def gather(features: Array, spans: Sequence[Span], order: Array) -> Array:
    """Return the rows of some spans in an order, in memory; a file is read span by span.

    Parameters
    ----------
    order : int64[N]
        Of the places in the spans, counted from the first row of the first of them.
    """
    if not isinstance(features, np.memmap):
        return features[places_of(spans)[order]]
    found, ranks, first = np.empty((len(order), features.shape[1]), features.dtype), _inverse(order), 0
    _advise(features, mmap.MADV_RANDOM)  # the system would read some MB around each span, and throw out what is needed
    for start, end in spans:
        fetch(features[start:end])
        found[ranks[first : first + end - start]] = features[start:end]
        first += end - start
    _advise(features, mmap.MADV_NORMAL)
    let_go(features)
    return found


def places_of(spans: Sequence[Span]) -> Array:
    """Return the places of all rows of some spans, one span after the other."""
    return np.concatenate([np.arange(start, end) for start, end in spans])


def _inverse(order: Array) -> Array:
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order))
    return ranks
