"""Rows a piece at a time: those of an epoch in its order, and those that are judged in theirs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.training.mapping import BLOCK_BYTES, block_rows, in_order, let_go
from pipeline.training.neural.network import Batch
from pipeline.training.neural.pictures import Vary

_JUDGED_BYTES = 16 * 2**20
"""Of the features that are judged together: a network makes several times as much of them."""


@dataclass(frozen=True)
class Pieces:
    """An epoch's rows; whoever goes through them twice finds the same.

    Attributes
    ----------
    batch_size : int
        Each piece but the last has whole batches.
    draw : tuple of int
        Seed and number of the epoch, from which its order follows.
    vary : callable or None
        Varies the features.
    """

    rows: Batch
    batch_size: int
    draw: tuple[int, int]
    vary: Vary | None = None

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return -(-len(self.rows.target) // piece_rows(self.rows.features.shape[1], self.batch_size))

    def __iter__(self) -> Iterator[Batch]:
        drawn = np.random.default_rng(self.draw)
        order = drawn.permutation(len(self.rows.target))
        size = piece_rows(self.rows.features.shape[1], self.batch_size)
        for place, features in enumerate(in_order(self.rows.features, order, size)):
            piece = self.rows.take(order[place * size : (place + 1) * size], features)
            yield piece if self.vary is None else replace(piece, features=self.vary(features, drawn))


def piece_rows(columns: int, batch_size: int) -> int:
    """Give how many rows a piece has: whole batches, at least one."""
    return max(BLOCK_BYTES // (4 * max(columns, 1)) // batch_size, 1) * batch_size


def judged_in_pieces(rows: Batch) -> Iterator[Batch]:
    """Give rows that are judged, in their order."""
    size = block_rows(rows.features.shape[1], _JUDGED_BYTES)
    for start in range(0, len(rows.target), size):
        yield rows.take(slice(start, start + size))
        let_go(rows.features)


def seed_of(seed: int, epoch: int) -> int:
    """Give the seed of what a framework draws in an epoch."""
    return int(np.random.default_rng([seed, epoch, 1]).integers(2**31))
