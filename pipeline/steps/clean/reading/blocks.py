"""A file of any size, block by block, each read as a partition is: by the same parsers, types and contract."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Column, Data
from pipeline.steps.clean.reading.csv_files import parse_csv, read_fields
from pipeline.steps.clean.reading.cutting import cut, first_record, read_text
from pipeline.steps.clean.reading.json_files import parse_json_lines
from pipeline.steps.clean.reading.parquet_files import choose_flat_columns, pick_rows, unreadable
from pipeline.steps.clean.reading.parsed import Parsed
from pipeline.steps.clean.reading.partition import Reading, positions_of, read_parsed
from pipeline.steps.clean.reading.unpacking import Format, only_member, tell_format

BLOCK_ROWS = 65_536

Positions = npt.NDArray[np.int64]
Choose = Callable[[list[str]], Sequence[str]]
"""Is told the columns of the file, and says which are kept as they are."""


@dataclass(frozen=True)
class Block:
    """Some consecutive rows of a file.

    Attributes
    ----------
    reading : Reading
        Its n good rows, and the broken ones by their position in the whole file.
    positions : int64[n]
        Where each good row is in the file, counted from 1 without the header.
    kept : Table of n rows
        The columns that are kept, as the file has them.
    records : callable
        Positions → the raw records at them.
    share : float
        How much of the file is read by now.
    """

    reading: Reading
    positions: Positions
    kept: pa.Table
    records: Callable[[Sequence[int]], Mapping[int, str]]
    share: float


@dataclass(frozen=True)
class _Part:
    """A block before its values are looked at; `keep` makes the kept columns of the rows at some positions in it."""

    parsed: Parsed
    keep: Callable[[Positions], pa.Table]
    share: float


def read_blocks(path: Path, data: Data, keep: Choose) -> Iterator[Block]:
    """Read a file in blocks, so that memory stays bounded: CSV, JSON Lines or Parquet, also in ``.gz`` or ``.zip``.

    Parameters
    ----------
    data : Data
        Declares all columns that are read.
    keep : callable
        Is asked once.

    Raises
    ------
    DataError
        If the file cannot be read, or lacks a column.
    """
    first = 0
    for part in _parts(path, data, keep):
        total = part.parsed.rows + len(part.parsed.broken)
        texts = part.parsed.texts
        reading = read_parsed(part.parsed, path.name, data)
        good = positions_of(len(reading.rows), reading.quarantined["row"].tolist())
        reading.quarantined["row"] += first
        yield Block(reading, good + first, part.keep(good), partial(_records, texts, first), part.share)
        first += total


def _records(
    texts: Callable[[Sequence[int]], Mapping[int, str]], first: int, positions: Sequence[int]
) -> dict[int, str]:
    return {place + first: text for place, text in texts([each - first for each in positions]).items()}


def _parts(path: Path, data: Data, keep: Choose) -> Iterator[_Part]:
    size = max(path.stat().st_size, 1)
    try:
        with path.open("rb") as raw, ExitStack() as stack:
            source, inner = _unpacked(raw, path.name, stack)
            form = tell_format(inner, data)
            if form == "parquet" and source is not raw:  # which is read here and there
                packed, source = source, stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(packed, source)
            yield from _FORMATS[form](source, path.name, data, keep, lambda: min(raw.tell() / size, 1.0))
    except (EOFError, gzip.BadGzipFile, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"read: {path.name}: cannot be unpacked, it is damaged or cut off ({error})") from error


def _unpacked(raw: IO[bytes], name: str, stack: ExitStack) -> tuple[IO[bytes], str]:
    """Unpack while it is read; return the stream, and the name of what it holds."""
    ending = Path(name).suffix.lower()
    if ending == ".gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)), name[: -len(".gz")]
    if ending == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(raw))
        member = only_member(archive, name)
        return stack.enter_context(archive.open(member)), member.filename
    return raw, name


def _csv_parts(source: IO[bytes], name: str, data: Data, keep: Choose, share: Callable[[], float]) -> Iterator[_Part]:
    plain, header, kept = _plain(data), b"", None
    for text in cut(read_text(source, name, data), name, data.delimiter):
        block = header + text
        if kept is None:
            block = text.lstrip(b"\r\n")
            header = first_record(block, data.delimiter)
            kept = _as_texts(keep(read_fields(header, name, plain)), plain)
        yield _Part(parse_csv(block, name, plain), partial(_keep_csv, block, name, kept), share())


def _as_texts(names: Sequence[str], data: Data) -> Data:
    """Declare columns as texts that are left as they are."""
    return data.model_copy(
        update={"columns": {each: Column(type="str") for each in names}, "missing_values": [], "decimal": "."}
    )


def _plain(data: Data) -> Data:
    """Say that a block is in UTF-8 by now."""
    return data.model_copy(update={"encoding": "utf-8"})


def _keep_csv(block: bytes, name: str, kept: Data, good: Positions) -> pa.Table:
    if not kept.columns:
        return _no_columns(good)
    parsed = parse_csv(block, name, kept)
    places = np.searchsorted(positions_of(parsed.rows, parsed.broken), good)
    return pa.table(dict(parsed.columns)).take(pa.array(places))


def _no_columns(good: Positions) -> pa.Table:
    return pa.table({"": pa.nulls(len(good))}).select([])


def _json_parts(source: IO[bytes], name: str, data: Data, keep: Choose, share: Callable[[], float]) -> Iterator[_Part]:
    known: Collection[str] = ()
    kept: Sequence[str] | None = None
    for block in cut(read_text(source, name, data), name, None):
        lines = [line for line in block.split(b"\n") if line.strip()]
        if not lines:
            continue
        parsed = parse_json_lines(block, name, _plain(data), known)
        known = data.columns
        if kept is None:
            kept = keep(_names(lines))
        yield _Part(parsed, partial(_keep_json, lines, kept), share())


def _names(lines: Sequence[bytes]) -> list[str]:
    """List the keys of the records that are some."""
    found: dict[str, None] = {}
    for line in lines:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        found |= dict.fromkeys(record if isinstance(record, dict) else ())
    return list(found)


def _keep_json(lines: Sequence[bytes], kept: Sequence[str], good: Positions) -> pa.Table:
    if not kept:
        return _no_columns(good)
    records = [json.loads(lines[place - 1]) for place in good]
    return pa.table({name: _column([record.get(name) for record in records]) for name in kept})


def _column(values: Sequence[Any]) -> pa.Array:
    """Make a column of JSON values: of texts where they are of several types, or no single values."""
    kinds = {type(each) for each in values if each is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {str, bool}):
        try:
            return pa.array(values)
        except pa.ArrowInvalid:  # an integer beyond 64 bits
            pass
    return pa.array([each if each is None or isinstance(each, str) else json.dumps(each) for each in values])


def _parquet_parts(
    source: IO[bytes], name: str, data: Data, keep: Choose, _share: Callable[[], float]
) -> Iterator[_Part]:
    try:
        file = parquet.ParquetFile(source)
        columns, _ = choose_flat_columns(file.schema_arrow, name, data)
        kept = list(keep(file.schema_arrow.names))
        done, total = 0, max(file.metadata.num_rows, 1)
        for batch in file.iter_batches(BLOCK_ROWS, columns=list(dict.fromkeys([*columns, *kept]))):
            table = pa.Table.from_batches([batch])
            done += len(table)
            parsed = Parsed.from_table(table.select(columns), {}, partial(pick_rows, table, columns))
            yield _Part(parsed, partial(_keep_parquet, table, kept), done / total)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(name, error) from error


def _keep_parquet(table: pa.Table, kept: Sequence[str], good: Positions) -> pa.Table:
    return table.select(kept).take(pa.array(good - 1)) if kept else _no_columns(good)


_FORMATS: Mapping[Format, Callable[[IO[bytes], str, Data, Choose, Callable[[], float]], Iterator[_Part]]] = {
    "csv": _csv_parts,
    "jsonl": _json_parts,
    "parquet": _parquet_parts,
}
