"""Parquet, by Arrow."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
from pyarrow import parquet

from pipeline.errors import DataError
from pipeline.messages import quote
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.parsed import Parsed, choose_columns
from pipeline.steps.clean.reading.unpacking import UNPACKED_MAX_BYTES, UNPACKED_MAX_RATIO

_CELL_BYTES = 8


def parse_parquet(source: bytes, name: str, data: Data) -> Parsed:
    """Parse a Parquet file of flat columns.

    Raises
    ------
    DataError
        If it is damaged or cut off, lacks a column, has a nested one, or unpacks to more than the limit.
    """
    try:
        file = parquet.ParquetFile(pa.BufferReader(source))
        columns, notes = choose_flat_columns(file.schema_arrow, name, data)
        _check_size(file, len(columns), len(source), name)
        table = file.read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(name, error) from error
    return Parsed.from_table(table.select(columns), {}, lambda positions: _pick(source, columns, positions), notes)


def unreadable(name: str, error: Exception) -> DataError:
    """Say that PyArrow could not read a file."""
    return DataError(f"read: {name}: is no Parquet file, damaged or cut off ({error}); replace it")


def choose_flat_columns(schema: pa.Schema, name: str, data: Data) -> tuple[list[str], tuple[str, ...]]:
    """Decide which columns are read, as for every format; a nested one among them is refused."""
    columns, notes = choose_columns(_without_index(schema, data), name, data)
    for field in map(schema.field, columns):
        is_image = field.name in data.columns and data.columns[field.name].type == "image"
        if pa.types.is_nested(field.type) or (_is_binary(field.type) and not is_image):
            raise DataError(
                f"read: {name}: {quote(field.name)}: found {field.type}; expected numbers, text, flags or "
                "times (data.columns)"
            )
    return columns, notes


def _without_index(schema: pa.Schema, data: Data) -> list[str]:
    """List the columns but for a frame's unnamed index, which pandas writes as one; in a CSV file it has no name."""
    index = {each for each in (schema.pandas_metadata or {}).get("index_columns", ()) if isinstance(each, str)}
    unnamed = {each for each in index if each.startswith("__index_level_")} - set(data.columns)
    return [each if each not in unnamed else "" for each in schema.names]


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _check_size(file: parquet.ParquetFile, columns: int, packed_bytes: int, name: str) -> None:
    unpacked = file.metadata.num_rows * columns * _CELL_BYTES
    if unpacked > max(UNPACKED_MAX_BYTES, UNPACKED_MAX_RATIO * packed_bytes):
        raise DataError(
            f"read: {name}: {file.metadata.num_rows:,} rows of {columns:,} columns are more than "
            f"{UNPACKED_MAX_BYTES / 2**30:.0f} GiB; expected a smaller partition (data.files)"
        )


def _pick(source: bytes, columns: Sequence[str], positions: Sequence[int]) -> dict[int, str]:
    return pick_rows(parquet.ParquetFile(pa.BufferReader(source)).read(columns=list(columns)), columns, positions)


def pick_rows(table: pa.Table, columns: Sequence[str], positions: Sequence[int]) -> dict[int, str]:
    """Write the rows at some positions as JSON."""
    rows = table.select(list(columns)).take([position - 1 for position in positions]).to_pylist()
    return {position: json.dumps(row, default=str) for position, row in zip(positions, rows, strict=True)}
