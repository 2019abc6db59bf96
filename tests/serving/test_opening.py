"""Tables that are small on their way and large in memory."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.serving.rows.faults import RejectedError
from pipeline.serving.rows.opening import open_table
from pipeline.serving.rows.parquet_pages import page_sizes

LONG = "x" * 2**20


def as_arrow(table: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def as_parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def repeated(rows: int) -> pa.Table:
    indices = pa.array(np.zeros(rows, np.int32))
    return pa.table({"t": pa.DictionaryArray.from_arrays(indices, pa.array([LONG]))})


def beginnings(rows: int) -> pa.Table:
    """Return long texts that begin alike, so that each costs a byte where only its end is written."""
    return pa.table({"t": [f"{LONG}{number:09}" for number in range(rows)]})


ZEROS = pa.table({"x": np.zeros(40_000_000)})
BOMBS: dict[str, tuple[bytes, bool]] = {
    "Arrow, zstd": (as_arrow(ZEROS, "zstd"), False),
    "Arrow, LZ4": (as_arrow(ZEROS, "lz4"), False),
    "Arrow, nothing": (as_arrow(pa.table({"x": pa.Array.from_buffers(pa.null(), 2**31 - 1, [None])})), False),
    "Arrow, one text for all rows": (as_arrow(repeated(100_000)), False),
    "Arrow, a compressed dictionary": (as_arrow(repeated(100_000), "zstd"), False),
    "Parquet, zstd": (as_parquet(ZEROS, compression="zstd", use_dictionary=False), True),
    "Parquet, one number for all rows": (as_parquet(ZEROS), True),
    "Parquet, one text for all rows": (as_parquet(repeated(20_000)), True),
    "Parquet, one text for all rows, plain": (as_parquet(repeated(20_000), store_schema=False), True),
    "Parquet, texts that begin alike": (
        as_parquet(beginnings(400), use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY", compression="zstd"),
        True,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_grows_too_large_is_refused_before_it_does(name: str) -> None:
    body, parquet = BOMBS[name]
    assert len(body) < 2**22
    used = psutil.Process().memory_info().rss
    with pytest.raises(RejectedError, match=r"found a table of \d+ bytes in memory; expected at most \d+") as caught:
        open_table(body, parquet=parquet)
    assert caught.value.status == 413
    assert psutil.Process().memory_info().rss - used < 400 * 2**20


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1], [2]]),
        pa.array([{"a": 1}, {"a": 2}]),
        pa.array(["a", "b"], pa.string_view()),
        pa.RunEndEncodedArray.from_arrays([2], [1.0]),
    ],
    ids=lambda values: str(values.type),
)
def test_a_column_of_no_plain_values_is_named(values: pa.Array) -> None:
    with pytest.raises(RejectedError, match=r"column 'x': found values of .*; expected numbers, booleans, texts"):
        open_table(as_arrow(pa.table({"x": values})), parquet=False)


MIXED = pa.table(
    {
        "number": pa.array(np.arange(30_000) % 700),
        "text": pa.array([f"text {number % 900} {'é' * (number % 40)}" for number in range(30_000)]),
        "code": pa.array([None if number % 11 else f"{number % 5}" for number in range(30_000)]).dictionary_encode(),
        "flag": pa.array([number % 3 == 0 for number in range(30_000)]),
        "at": pa.array(np.arange(30_000), pa.timestamp("ms")),
    }
)


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
def test_an_arrow_table_is_what_was_sent(compression: str | None) -> None:
    assert open_table(as_arrow(MIXED, compression), parquet=False).equals(MIXED)


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False, "row_group_size": 7_000},
        {"data_page_version": "2.0"},
        {"write_page_checksum": True},
    ],
    ids=["usual", "plain", "second version", "checksums"],
)
def test_a_parquet_table_is_what_was_sent_and_its_pages_say_their_sizes(
    compression: str, options: dict[str, Any]
) -> None:
    body = as_parquet(MIXED, compression=compression, data_page_size=4_096, write_statistics=True, **options)
    assert open_table(body, parquet=True).to_pydict() == MIXED.to_pydict()
    metadata = pq.ParquetFile(io.BytesIO(body)).metadata
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            start = chunk.dictionary_page_offset or chunk.data_page_offset
            sizes = list(page_sizes(memoryview(body)[start : start + chunk.total_compressed_size]))
            headers = chunk.total_uncompressed_size - sum(sizes)
            assert 0 < headers < 200 * len(sizes)


@pytest.mark.parametrize(
    "damaged", [b"\x15", b"\x15\x00\x15\x01\x15\x00\x00", b"\x1c" * 40, b"\x15" + b"\xff" * 20, b"\x19\x00\x00"]
)
def test_a_damaged_page_header_is_no_size(damaged: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(page_sizes(memoryview(damaged)))
