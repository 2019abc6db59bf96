"""CSV: parsed by Arrow with the declared types; if a value does not fit, parsed again as text."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as arrow_csv

from pipeline.errors import DataError
from pipeline.messages import quote
from pipeline.model.columns import ColumnType
from pipeline.model.missing import Missing
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.parsed import Parsed, choose_columns
from pipeline.steps.clean.reading.unpacking import decode, to_utf8

# A whole number is read as a float, since files with missing values write 3 as 3.0; that it is whole is checked later.
_FAST_TYPES: dict[ColumnType, pa.DataType] = {
    "float": pa.float64(),
    "int": pa.float64(),
    "bool": pa.bool_(),
    "str": pa.large_string(),
    "datetime": pa.large_string(),
    "image": pa.large_string(),
}

_BLOCK_BYTES = 2**20
_LARGE_FILE_BYTES = 2**26
# Columns of a large file are freed one by one; Arrow gives their memory back only if their pieces are large.
_LARGE_BLOCK_BYTES = 2**24
_BLOCK_MAX_BYTES = 2**31 - 1


@dataclass(frozen=True)
class _File:
    text: bytes
    name: str
    delimiter: str
    quoted: bool
    nulls: Sequence[str]
    decimal: str
    thousands: str | None


def parse_csv(source: bytes, name: str, data: Data) -> Parsed:
    """Parse a CSV file with a header; records with too few or too many fields are broken ones.

    Raises
    ------
    DataError
        If it is not text in the encoding, has no header, lacks a column, or a quoted field never ends.
    """
    file = _open(source, name, data)
    columns, notes = choose_columns(_read_header(file), name, data)
    table, broken = _parse(file, _types(columns, data), columns)
    table, warnings = _keep_leading_zeros(table, file, data)
    if data.decimal == "," or data.thousands:
        table = _read_written_numbers(table, file, data)
    return Parsed.from_table(table, broken, lambda positions: _pick(file, positions), notes, warnings)


def read_fields(source: bytes, name: str, data: Data) -> list[str]:
    """Read the names in a header; errors as in `parse_csv`."""
    return _read_header(_open(source, name, data))


def _open(source: bytes, name: str, data: Data) -> _File:
    text = to_utf8(source, name, data)
    if 0 < len(text) < _BLOCK_BYTES and not text.endswith(b"\n"):
        text += b"\n"  # Arrow takes a header without it for an empty file
    nulls = sorted(Missing.of("float", data.missing_values).words)
    return _File(
        text, name, data.delimiter, quoted=b'"' in text, nulls=nulls, decimal=data.decimal, thousands=data.thousands
    )


def _read_written_numbers(table: pa.Table, file: _File, data: Data) -> pa.Table:
    """Write numbers that Arrow left as texts as it reads them: without thousands, with a point.

    A column without a declared type becomes numbers if all of its values are.
    """
    for place, field in enumerate(table.schema):
        rule = data.columns.get(field.name)
        if not _is_text(field.type) or (rule is not None and rule.type not in ("float", "int")):
            continue
        column = _without_thousands(table.column(place), file) if file.thousands else table.column(place)
        if rule is None:
            read = _cast_numbers(column, file) if file.thousands else None
            table = table if read is None else table.set_column(place, field.name, read)
        else:
            pointed = column if file.decimal == "." else compute.replace_substring(column, file.decimal, ".")
            table = table.set_column(place, field.name, pointed)
    return table


def _without_thousands(column: pa.ChunkedArray, file: _File) -> pa.ChunkedArray:
    """Take the separators out of numbers that have them at every third digit; 1,23 stays what it is."""
    thousands, decimal = (re.escape(each) for each in (str(file.thousands), file.decimal))
    written = rf"^\s*[+-]?\d{{1,3}}({thousands}\d{{3}})+({decimal}\d*)?\s*$"
    is_written = compute.match_substring_regex(column, written)
    return compute.if_else(is_written, compute.replace_substring(column, str(file.thousands), ""), column)


def _cast_numbers(column: pa.ChunkedArray, file: _File) -> pa.ChunkedArray | None:
    """Read texts as numbers if each is one or stands for a missing value, and any is one."""
    texts = compute.utf8_trim_whitespace(column)
    given = compute.invert(compute.is_in(texts, pa.array(file.nulls, texts.type)))
    bare = compute.if_else(given, compute.replace_substring(texts, file.decimal, "."), None)
    try:
        read = compute.cast(bare, pa.float64())
    except pa.ArrowInvalid:
        return None
    return read if read.null_count < len(read) else None


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _keep_leading_zeros(table: pa.Table, file: _File, data: Data) -> tuple[pa.Table, tuple[str, ...]]:
    """Read a column without a declared type as text if Arrow would take 01000 and 1000 for the same number."""
    whole = [each.name for each in table.schema if pa.types.is_integer(each.type) and each.name not in data.columns]
    if not whole or not _has_leading_zeros(file):
        return table, ()
    texts, _ = _read(file, dict.fromkeys(whole, pa.large_string()), whole)
    said = []
    for name in whole:
        rows = compute.indices_nonzero(compute.match_substring_regex(texts.column(name), r"^[+-]?0\d"))
        if len(rows):
            table = table.set_column(table.schema.get_field_index(name), name, texts.column(name))
            said.append(
                f"{quote(name)}: found leading zeros, such as {texts.column(name)[rows[0].as_py()].as_py()!r}, so it "
                f"is read as a text; for numbers say so (data.columns.{name}.type)"
            )
    return table, tuple(said)


def _has_leading_zeros(file: _File) -> bool:
    """Tell quickly whether a field may begin with a zero before another digit."""
    signs = np.frombuffer(file.text, np.uint8)
    before, first, second = signs[:-2], signs[1:-1], signs[2:]
    starts = (before == ord("\n")) | (before == ord('"')) | (before == file.delimiter.encode()[0])
    return bool((starts & (first == ord("0")) & (second - ord("0") < 10)).any())  # below "0" it wraps around


def _types(columns: Sequence[str], data: Data) -> dict[str, pa.DataType]:
    return {each: _FAST_TYPES[data.columns[each].type] for each in columns if each in data.columns}


def _read_header(file: _File) -> list[str]:
    first = next(_records(file), "")
    if "\ufffd" in first:  # names that are not of the encoding would all look alike
        decode(file.text, file.name, "utf-8")
    fields = next(csv.reader([first.removeprefix("\ufeff")], delimiter=file.delimiter), []) if first else []
    if not any(fields):
        raise DataError(
            f"read: {file.name}: is empty ({len(file.text):,} bytes); expected a first line of column names"
        )
    if all(map(_is_number, fields)):
        raise DataError(
            f"read: {file.name}:1: found {first[:80]!r}, which looks like a row of values; "
            "expected a first line of column names"
        )
    return fields


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _parse(file: _File, types: dict[str, pa.DataType], columns: list[str]) -> tuple[pa.Table, dict[int, str]]:
    as_text = dict.fromkeys(columns, pa.large_string())
    try:
        table, broken = _read(file, types, columns)
    except pa.ArrowInvalid as error:
        if "conversion error" not in str(error):
            raise _unreadable(file, error) from error
        try:
            table, broken = _read(file, as_text, columns)
        except pa.ArrowInvalid as second:
            raise _unreadable(file, second) from second
    if any(pa.types.is_binary(each.type) for each in table.schema):  # how Arrow infers text that is not UTF-8
        decode(file.text, file.name, "utf-8")
    if clock := {each.name: pa.large_string() for each in table.schema if pa.types.is_time(each.type)}:
        return _read(file, types | clock, columns)
    if file.quoted and file.text.count(b'"') % 2:
        _refuse_open_quote(file)
    return table, broken


def _unreadable(file: _File, error: pa.ArrowInvalid) -> DataError:
    if "UTF8" in str(error):
        decode(file.text, file.name, "utf-8")
    return DataError(f"read: {file.name}: found no CSV ({error}); expected records of fields")


def _read(file: _File, types: dict[str, pa.DataType], columns: list[str]) -> tuple[pa.Table, dict[int, str]]:
    """Read with all threads; again with one if records are ragged, since only then are they numbered."""
    ragged: list[arrow_csv.InvalidRow] = []
    table = _read_blocks(file, types, columns, ragged, use_threads=True)
    if ragged:
        ragged = []
        table = _read_blocks(file, types, columns, ragged, use_threads=False)
    return table, {
        # Arrow counts the header as the first record.
        each.number - 1: f"found {each.actual_columns} fields; expected {each.expected_columns} as in the header "
        "(data.delimiter)"
        for each in ragged
    }


def _read_blocks(
    file: _File,
    types: dict[str, pa.DataType],
    columns: list[str],
    ragged: list[arrow_csv.InvalidRow],
    *,
    use_threads: bool,
) -> pa.Table:
    def skip(row: arrow_csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    def attempt(block_bytes: int) -> pa.Table:
        return arrow_csv.read_csv(
            pa.py_buffer(file.text),
            read_options=arrow_csv.ReadOptions(use_threads=use_threads, block_size=block_bytes),
            parse_options=arrow_csv.ParseOptions(
                delimiter=file.delimiter, newlines_in_values=file.quoted, invalid_row_handler=skip
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=types,
                null_values=file.nulls,  # in a column of text they stay what they are
                strings_can_be_null=False,
                include_columns=columns,
                decimal_point=file.decimal,
            ),
        )

    try:
        return attempt(_BLOCK_BYTES if len(file.text) < _LARGE_FILE_BYTES else _LARGE_BLOCK_BYTES)
    except pa.ArrowInvalid as error:
        if "straddling" not in str(error):
            raise
    ragged.clear()
    return attempt(min(len(file.text) + 1, _BLOCK_MAX_BYTES))  # a record that is longer than a block


def _refuse_open_quote(file: _File) -> None:
    """Refuse a quote that opens and never closes: it would make one value of the rest of the file."""
    lines = io.TextIOWrapper(io.BytesIO(file.text), "utf-8", "replace", newline="")
    reader = csv.reader(lines, delimiter=file.delimiter, strict=True)
    line = 0
    try:
        for _ in reader:
            line = reader.line_num
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise DataError(
                f"read: {file.name}:{line + 1}: found a quoted field that never ends; expected a closing quote"
            ) from error


def _records(file: _File) -> Iterator[str]:
    """Yield the raw records that are not empty lines; the header is the first."""
    lines = (line.decode("utf-8", "replace") for line in io.BytesIO(file.text))
    if not file.quoted:
        yield from filter(None, (line.rstrip("\r\n") for line in lines))
        return
    pending: list[str] = []

    def remember() -> Iterator[str]:
        for line in lines:
            pending.append(line)
            yield line

    for record in csv.reader(remember(), delimiter=file.delimiter):
        if record:
            yield "".join(pending).rstrip("\r\n")
        pending.clear()


def _pick(file: _File, positions: Sequence[int]) -> dict[int, str]:
    wanted = set(positions)
    picked: dict[int, str] = {}
    numbered = enumerate(itertools.islice(_records(file), max(wanted, default=-1) + 1))
    # The standard library refuses fields of more than 128 KiB; the records behind one stay without their text.
    with contextlib.suppress(csv.Error):
        picked.update((position, record) for position, record in numbered if position in wanted)
    return picked
