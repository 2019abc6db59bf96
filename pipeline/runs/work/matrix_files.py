"""A matrix in an artifact, as Parquet: written and read piece by piece, so that nobody needs to hold all of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runs.work.files import COMPRESSION, repeating
from pipeline.steps.train.mapping import block_rows, writing

_TOGETHER = 64
"""Columns of a matrix that are read together."""

Matrix: TypeAlias = npt.NDArray[np.float32]


class MatrixFile:
    """A matrix that is written piece by piece, a named column each, in groups of rows that do not depend on the pieces.

    Neither who writes it nor who reads it then needs to hold more than a group, besides what they make of it.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path, self._schema = path, pa.schema([(name, pa.float32()) for name in names])
        self._writer: pq.ParquetWriter | None = None
        self._rest: Matrix = np.empty((0, len(names)), dtype=np.float32)
        self._size = block_rows(len(names))

    def __enter__(self) -> Self:
        """Open it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what is left and close the file."""
        if len(self._rest) or self._writer is None:
            self._write_group(self._rest)
        assert self._writer is not None  # noqa: S101 - an empty matrix has a group without rows
        self._writer.close()

    def write(self, rows: Matrix) -> None:
        """Add some rows."""
        waiting = np.concatenate([self._rest, rows])
        whole = len(waiting) - len(waiting) % self._size
        for start in range(0, whole, self._size):
            self._write_group(waiting[start : start + self._size])
        self._rest = waiting[whole:].copy()

    def _write_group(self, rows: Matrix) -> None:
        columns = np.asfortranarray(rows)
        arrays = [pa.array(columns[:, place]) for place in range(columns.shape[1])]
        table = pa.table(arrays, schema=self._schema)
        if self._writer is None:  # the first rows tell how the columns are best written
            self._writer = pq.ParquetWriter(
                self._path, self._schema, compression=COMPRESSION, use_dictionary=repeating(table)
            )
        self._writer.write_table(table, row_group_size=self._size)


def in_memory(rows: int, columns: int) -> Matrix:
    """Make a matrix that is filled later."""
    return np.empty((rows, columns), dtype=np.float32)


def matrix_bytes(path: Path) -> int:
    """Say how large the numbers of a matrix are in memory."""
    found = pq.read_metadata(path)
    return int(4 * found.num_rows * found.num_columns)


def read_matrix(
    path: Path, *masks: npt.NDArray[np.bool_], make: Callable[[int, int], Matrix] = in_memory
) -> tuple[list[Matrix], tuple[str, ...]]:
    """Read rows of a matrix, group by group.

    Parameters
    ----------
    masks : bool[N]
        Each chooses the rows of one of the results.
    make : callable
        Gives the place for so many rows and columns.

    Returns
    -------
    list of float32[n, P], C-contiguous
    tuple of str
        Names of the columns.
    """
    with pq.ParquetFile(path) as file:
        names = tuple(file.schema_arrow.names)
        found = [make(int(mask.sum()), len(names)) for mask in masks]
        filled, start = [0] * len(masks), 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            chosen = [mask[start : start + count] for mask in masks]
            ends = [done + int(each.sum()) for done, each in zip(filled, chosen, strict=True)]
            targets = [rows[done:end] for rows, done, end in zip(found, filled, ends, strict=True)]
            with ExitStack() as stack:
                for target in targets:
                    stack.enter_context(writing(target))
                _fill(targets, file, group, chosen)
            filled, start = ends, start + count
    return found, names


def _fill(targets: Sequence[Matrix], file: pq.ParquetFile, group: int, chosen: Sequence[npt.NDArray[np.bool_]]) -> None:
    """Read a group some columns at a time: all of them, packed and unpacked, take several times as much."""
    names = file.schema_arrow.names
    for first in range(0, len(names), _TOGETHER):
        some = names[first : first + _TOGETHER]
        table = file.read_row_group(group, columns=some)
        for place, name in enumerate(some, start=first):
            values = table.column(name).to_numpy()
            for target, mask in zip(targets, chosen, strict=True):
                target[:, place] = values[mask]
