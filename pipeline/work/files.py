"""The files in an artifact: frames and matrices as Parquet, everything else as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

# Fast to write and to read, and every reader of Parquet knows it.
_COMPRESSION = "lz4"


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame without its index."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), path, compression=_COMPRESSION)


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a frame, or some of its columns."""
    frame: pd.DataFrame = pq.read_table(path, columns=None if columns is None else list(columns)).to_pandas()
    return frame if columns is None else frame[list(columns)]


def write_matrix(matrix: npt.NDArray[np.float32], names: Sequence[str], path: Path) -> None:
    """Write a matrix, a named column each."""
    columns = np.asfortranarray(matrix)
    table = pa.table([pa.array(columns[:, place]) for place in range(len(names))], names=list(names))
    pq.write_table(table, path, compression=_COMPRESSION)


def read_matrix(path: Path, rows: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Read some rows of a matrix, by a mask.

    Returns
    -------
    float32[n, P], C-contiguous
    tuple of str
        Names of the columns.
    """
    table = pq.read_table(path)
    matrix = np.empty((int(rows.sum()), table.num_columns), dtype=np.float32)
    for place in range(table.num_columns):
        matrix[:, place] = table.column(place).to_numpy()[rows]
    return matrix, tuple(table.column_names)


def write_json(value: Any, path: Path) -> None:
    """Write JSON that a person can read; NaN and infinity are refused, since no other program reads them."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=_plain), "utf-8")


def read_json(path: Path) -> Any:
    """Read JSON."""
    return json.loads(path.read_bytes())


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
