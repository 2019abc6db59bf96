"""Rows a piece at a time: those of an epoch in its order, and those that are judged in theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.steps.train.mapping import (
    BLOCK_BYTES,
    READ_BYTES,
    Span,
    block_rows,
    fetch,
    gather,
    placed_blocks,
    places_of,
)
from pipeline.steps.train.neural.network import Batch
from pipeline.steps.train.neural.pictures import Vary

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
        features = self.rows.features
        lots = draw_lots(len(self.rows.target), features.shape[1], self.batch_size, drawn)
        for lot, following in zip(lots, [*lots[1:], []], strict=True):
            places = places_of(lot)
            order = drawn.permutation(len(places))
            piece = self.rows.take(places[order], gather(features, lot, order))
            for start, end in following:
                fetch(features[start:end])
            yield piece if self.vary is None else replace(piece, features=self.vary(piece.features, drawn))


def draw_lots(rows: int, columns: int, batch_size: int, drawn: np.random.Generator) -> list[list[Span]]:
    """Draw which rows are in which piece of an epoch: many short spans from all over, each read from a disk in one go.

    Within a piece every row's place is drawn, so rows of a span are not learnt one after the other, only within the
    same 64 MiB. Where one piece has all rows, any order is as likely as any other.
    """
    size = piece_rows(columns, batch_size)
    if rows <= size:
        return [[(0, rows)]]
    length = min(block_rows(columns, READ_BYTES), size)
    starts = drawn.permutation(np.arange(0, rows, length)).tolist()
    return list(_cut([(start, min(start + length, rows)) for start in starts], size))


def _cut(spans: Sequence[Span], size: int) -> Iterator[list[Span]]:
    """Yield spans in lots of so many rows, cutting those that are in two; the last lot may have fewer."""
    lot, room = list[Span](), size
    for start, end in spans:
        done = start
        while done < end:
            cut = min(done + room, end)
            lot.append((done, cut))
            done, room = cut, room - (cut - done)
            if not room:
                yield lot
                lot, room = [], size
    if lot:
        yield lot


def piece_rows(columns: int, batch_size: int) -> int:
    """Return how many rows a piece has: whole batches, at least one."""
    return max(BLOCK_BYTES // (4 * max(columns, 1)) // batch_size, 1) * batch_size


def judged_in_pieces(rows: Batch) -> Iterator[Batch]:
    """Yield rows that are judged, in their order."""
    for places, features in placed_blocks(rows.features, block_rows(rows.features.shape[1], _JUDGED_BYTES)):
        yield rows.take(places, features)


def seed_of(seed: int, epoch: int) -> int:
    """Return the seed of what a framework draws in an epoch."""
    return int(np.random.default_rng([seed, epoch, 1]).integers(2**31))
