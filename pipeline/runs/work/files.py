"""The files in an artifact: frames as Parquet, everything else as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Fast to write and to read, and every reader of Parquet knows it.
COMPRESSION = "lz4"
_SAMPLE, _DIFFERENT = 512, 0.9
"""Rows at the beginning that tell whether the values of a column repeat, and the share that differs if they do not."""


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame without its index."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), path, compression=COMPRESSION, use_dictionary=repeating(table))


def repeating(table: pa.Table) -> list[str]:
    """List the columns that a dictionary makes smaller: all but numbers that hardly repeat.

    Those would be written twice, into the dictionary and, once that is full, as they are: in twice the time, and a
    quarter larger.
    """
    return [
        name
        for name, values in zip(table.column_names, table.itercolumns(), strict=True)
        if not pa.types.is_floating(values.type) or _repeats(values.slice(0, _SAMPLE))
    ]


def _repeats(values: pa.ChunkedArray) -> bool:
    return bool(pc.count_distinct(values).as_py() <= _DIFFERENT * len(values))


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a frame, or some of its columns."""
    frame: pd.DataFrame = pq.read_table(path, columns=None if columns is None else list(columns)).to_pandas()
    return frame if columns is None else frame[list(columns)]


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
