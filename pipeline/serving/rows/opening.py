"""Tables of Arrow and Parquet: their size in memory is read from headers first, and too large ones are refused.

Each compressed part of a body says its size, so a body of a kilobyte that stands for gigabytes is refused unread.

References
----------
https://github.com/apache/arrow/blob/main/format/Message.fbs, https://github.com/apache/parquet-format
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.serving.rows.faults import Fault, RejectedError
from pipeline.serving.rows.parquet_pages import page_sizes

_LARGEST_GROWTH = 64
"""A compressed table may be this many times as large in memory as it was sent."""
_SMALLEST_LIMIT = 64 * 2**20
_CELL = 8
"""Bytes that a value takes at least once it is read."""
_EXPECTED = "numbers, booleans, texts, bytes or times"


def open_table(body: bytes | bytearray, *, parquet: bool) -> Any:
    """Open the ``pyarrow.Table`` of a body, validated.

    Raises
    ------
    RejectedError
        413 for a table that grows too large, 422 for a column of another kind than values.
    Exception
        PyArrow's, or one of Python's, for what is no such table.
    """
    import pyarrow as pa

    source = pa.py_buffer(body)
    limit = max(_LARGEST_GROWTH * len(body), _SMALLEST_LIMIT)
    table = _read_parquet(source, limit) if parquet else _read_stream(source, limit)
    table.validate(full=True)  # before anything else looks at it: what a damaged table points at may not be there
    _refuse_growth(sum(_resolved(column) for column in table.columns), limit)
    if len(set(table.column_names)) != len(table.column_names):
        raise ValueError("a column twice")
    return table


def _refuse_growth(size: int, limit: int) -> None:
    if size > limit:
        raise RejectedError(413, f"found a table of {size} bytes in memory; expected at most {limit} (send fewer rows)")


def _refuse_cells(rows: int, schema: Any, limit: int) -> None:
    """Refuse what no part's size tells: columns that only repeat a value, or nothing."""
    for field in schema:
        if not _holds_values(field.type):
            fault = Fault(f"values of {field.type}", _EXPECTED, column=field.name)
            raise RejectedError(422, str(fault), (fault,))
    _refuse_growth(rows * len(schema) * _CELL, limit)


def _holds_values(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        return _holds_values(kind.value_type) and not types.is_dictionary(kind.value_type)
    return types.is_null(kind) or types.is_decimal(kind) or types.is_primitive(kind) or _varies(kind)


def _read_stream(source: Any, limit: int) -> Any:
    import pyarrow as pa

    sizes = [_sizes_of(message) for message in _messages(source)]
    _refuse_growth(sum(size for _, size in sizes), limit)
    with pa.ipc.open_stream(source) as reader:
        _refuse_cells(sum(rows for rows, _ in sizes), reader.schema, limit)
        return reader.read_all()


def _messages(source: Any) -> Iterator[Any]:
    import pyarrow as pa

    yield from pa.ipc.MessageReader.open_stream(source)


def _sizes_of(message: Any) -> tuple[int, int]:
    """Read the rows of a message and the bytes of its buffers, decompressed. PyArrow has checked its layout."""
    from flatbuffers import encode, number_types, packer
    from flatbuffers.table import Table

    if message.type not in {"record batch", "dictionary"}:
        return 0, 0
    layout = message.metadata.to_pybytes()
    envelope = Table(layout, encode.Get(packer.uoffset, layout, 0))
    batch = _child(envelope, 8)
    if message.type == "dictionary":
        rows, batch = 0, _child(batch, 6)
    else:
        place = batch.Offset(4)
        rows = int(batch.Get(number_types.Int64Flags, batch.Pos + place)) if place else 0
    if not batch.Offset(10):  # not compressed
        return rows, message.body.size
    place = batch.Offset(8)
    parts = np.frombuffer(layout, "<i8", 2 * batch.VectorLen(place), batch.Vector(place)).reshape(-1, 2).tolist()
    return rows, sum(_decompressed(memoryview(message.body), *part) for part in parts)


def _child(table: Any, slot: int) -> Any:
    from flatbuffers.table import Table

    return Table(table.Bytes, table.Indirect(table.Pos + table.Offset(slot)))


def _decompressed(body: memoryview, offset: int, length: int) -> int:
    """Read the size that a buffer begins with; -1 says that it is not compressed."""
    said = int.from_bytes(body[offset : offset + 8], "little", signed=True) if length else 0
    return said if said >= 0 else length


def _read_parquet(source: Any, limit: int) -> Any:
    import pyarrow as pa
    from pyarrow import parquet as pq

    file = pq.ParquetFile(pa.BufferReader(source))
    _refuse_cells(file.metadata.num_rows, file.schema_arrow, limit)
    said = 0
    for start, length in _chunks(file.metadata):
        for size in page_sizes(memoryview(source).cast("B")[start : start + length]):
            said += size
            _refuse_growth(said, limit)
    batches, size = [], 0
    # One text may stand for many rows, or for the beginning of many texts: so few are read at a time that all fit.
    for batch in file.iter_batches(max(limit // max(said, 1), 1), use_threads=False):
        size += batch.nbytes
        _refuse_growth(size, limit)
        batches.append(batch)
    return pa.Table.from_batches(batches, file.schema_arrow)


def _chunks(metadata: Any) -> Iterator[tuple[int, int]]:
    """Yield where the pages of each column begin, and their length."""
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            yield (
                min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset),
                (chunk.total_compressed_size),
            )


def _resolved(column: Any) -> int:
    """Compute the bytes of a column once its dictionary is looked up for each row."""
    from pyarrow import compute, types

    if not types.is_dictionary(column.type) or not _varies(column.type.value_type):
        return int(column.nbytes)
    lengths = (compute.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(compute.sum(each).as_py() or 0 for each in lengths)


def _varies(kind: Any) -> bool:
    from pyarrow import types

    return any(test(kind) for test in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary))
