"""Batches divided among workers, so that together they take the step that one process would take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.steps.train.neural.network import Batch
from pipeline.steps.train.results import Array


@dataclass(frozen=True)
class Shard:
    """A worker's rows of some batches.

    Attributes
    ----------
    rows : Batch
        Without weights.
    shares : ndarray of float32, shape (rows,)
        Each row's weight. Over a batch, of all workers, their sum is 1: the sum of weighted losses is the mean loss.
    parts : tuple of slice
        The worker's rows of each batch.
    sizes : tuple of int
        How many rows each batch has, of all workers.
    """

    rows: Batch
    shares: Array
    parts: tuple[slice, ...]
    sizes: tuple[int, ...]


def bounds(rows: int, batch_size: int, workers: int, rank: int) -> list[tuple[int, int]]:
    """Return where a worker's rows of each batch begin and end."""
    found = []
    for start in range(0, rows, batch_size):
        size = min(batch_size, rows - start)
        found.append((start + size * rank // workers, start + size * (rank + 1) // workers))
    return found


def sizes(rows: int, batch_size: int) -> tuple[int, ...]:
    """Return how many rows each batch has."""
    return tuple(min(batch_size, rows - start) for start in range(0, rows, batch_size))


def parts(lengths: list[int]) -> tuple[slice, ...]:
    """Return the places of batches that follow each other."""
    ends = np.cumsum(lengths).tolist()
    return tuple(slice(end - length, end) for end, length in zip(ends, lengths, strict=True))


def shards(piece: Batch, batch_size: int, workers: int) -> list[Shard]:
    """Divide the batches of a piece, a shard for each worker."""
    count = sizes(len(piece.target), batch_size)
    shares = _shares(piece, batch_size)
    made = []
    for rank in range(workers):
        limits = bounds(len(piece.target), batch_size, workers, rank)
        order = np.concatenate([np.arange(start, end) for start, end in limits])
        rows = Batch(piece.features[order], piece.target[order], None)
        made.append(Shard(rows, shares[order], parts([end - start for start, end in limits]), count))
    return made


def _shares(piece: Batch, batch_size: int) -> Array:
    """Return each row's share of its batch's loss."""
    rows = len(piece.target)
    weights = np.ones(rows, np.float64) if piece.weights is None else piece.weights.astype(np.float64)
    sums = np.add.reduceat(weights, np.arange(0, rows, batch_size))
    return np.asarray(weights / np.repeat(sums, sizes(rows, batch_size)), np.float32)
