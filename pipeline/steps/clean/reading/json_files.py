"""JSON Lines: parsed by Arrow; where lines are broken or types vary, line by line."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import compute
from pyarrow import json as arrow_json

from pipeline.model.missing import Missing
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.parsed import Parsed, choose_columns
from pipeline.steps.clean.reading.unpacking import decode, to_utf8

Record = Mapping[str, Any]


def parse_json_lines(source: bytes, name: str, data: Data, known: Collection[str] = ()) -> Parsed:
    """Parse a file of one flat JSON object a line; a column may be left out where it is null.

    Parameters
    ----------
    known : collection of str
        Columns that an earlier part of the file had: they may be in no record of this one.

    Raises
    ------
    DataError
        If it is not UTF-8 (or what ``data.encoding`` says), or a declared column is in no record.
    """
    text = to_utf8(source, name, data)
    table, broken = _parse(text, name, data)
    if not len(table) and not table.column_names:
        empty = pa.table({each: pa.nulls(0) for each in data.columns})
        return Parsed.from_table(empty, broken, lambda positions: _pick(text, positions))
    for each in known:
        if each not in table.column_names:
            table = table.append_column(each, pa.nulls(len(table)))
    columns, notes = choose_columns(table.column_names, name, data)
    return Parsed.from_table(table.select(columns), broken, lambda positions: _pick(text, positions), notes)


def _parse(text: bytes, name: str, data: Data) -> tuple[pa.Table, dict[int, str]]:
    if not text.strip():
        return pa.table({}), {}
    # Text is declared to Arrow, so that it does not read a time where the spec says str.
    texts = [
        pa.field(each, pa.string()) for each, rule in data.columns.items() if rule.type in ("str", "datetime", "image")
    ]
    try:
        table = arrow_json.read_json(
            pa.py_buffer(text),
            parse_options=arrow_json.ParseOptions(explicit_schema=pa.schema(texts), unexpected_field_behavior="infer"),
        )
        table.validate(full=True)  # Arrow does not check that text is UTF-8 while it reads
    except pa.ArrowInvalid:
        return _parse_lines(text, name, data)
    if any(pa.types.is_nested(table.schema.field(each).type) for each in table.column_names):
        return _parse_lines(text, name, data)
    # Arrow makes a column of nulls for a declared one that no record has.
    absent = [each.name for each in texts if table.column(each.name).null_count == len(table)]
    absent = [each for each in absent if json.dumps(each).encode() not in text]
    return _infer_times(table.drop_columns(absent), data), {}


def _infer_times(table: pa.Table, data: Data) -> pa.Table:
    """Infer times behind words that mean "missing", which Arrow takes for a text."""
    words = pa.array(sorted(_words(data)))
    for place, each in enumerate(table.column_names):
        column = table.column(place)
        if each in data.columns or not pa.types.is_string(column.type):
            continue
        found = compute.is_in(column, words)
        if compute.any(found).as_py():
            table = table.set_column(place, each, _times_or(column, compute.if_else(found, None, column)))
    return table


def _words(data: Data) -> frozenset[str]:
    return Missing.of("float", data.missing_values).words


def _times_or(texts: Any, bare: Any) -> Any:
    """Read texts as times, or return them as they are; ``bare`` are the texts without words for "missing"."""
    if bare.null_count == len(bare):
        return texts
    try:
        return compute.cast(bare, pa.timestamp("us"))
    except pa.ArrowInvalid:
        return texts


def _parse_lines(text: bytes, name: str, data: Data) -> tuple[pa.Table, dict[int, str]]:
    records: list[Record] = []
    broken: dict[int, str] = {}
    for position, line in _lines(text, name):
        record = _read_record(line, data)
        if isinstance(record, str):
            broken[position] = record
        else:
            records.append(record)
    names, words = dict.fromkeys(key for record in records for key in record), _words(data)
    given = {each: frozenset[str]() if each in data.columns else words for each in names}
    return pa.table({each: _column([record.get(each) for record in records], given[each]) for each in names}), broken


def _lines(text: bytes, name: str) -> Iterator[tuple[int, str]]:
    lines = (line for line in io.BytesIO(text) if line.strip())
    for position, line in enumerate(lines, start=1):
        yield position, decode(line, name, "utf-8").strip()


def _read_record(line: str, data: Data) -> Record | str:
    """Read a line's record, or the rule that the line breaks."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"found no JSON ({error}); expected one object a line (data.format)"
    if not isinstance(record, dict):
        return f"found {line[:40]!r}; expected one JSON object a line (data.format)"
    wanted = data.columns if data.is_complete else record
    if nested := next((each for each in wanted if isinstance(record.get(each), dict | list)), None):
        return f"{nested}: found {json.dumps(record[nested])[:40]}; expected a number, text, true, false or null"
    return record


def _column(values: Sequence[Any], words: Collection[str]) -> pa.Array:
    """Make one column: of numbers, flags or times where all are but for words that mean "missing", else of text."""
    bare = [None if isinstance(value, str) and value in words else value for value in values]
    kinds = {type(value) for value in bare if value is not None}
    if kinds <= {int, float} and (kinds or bare == values):
        return pa.array([None if value is None else _as_float(value) for value in bare], pa.float64())
    if kinds == {bool}:
        return pa.array(bare, pa.bool_())
    texts = pa.array([value if value is None or isinstance(value, str) else json.dumps(value) for value in values])
    return _times_or(texts, pa.array(bare, pa.string())) if kinds == {str} else texts


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return float("inf")


def _pick(text: bytes, positions: Sequence[int]) -> dict[int, str]:
    wanted = set(positions)
    lines = (line.decode("utf-8", "replace").strip() for line in io.BytesIO(text) if line.strip())
    return {position: line for position, line in enumerate(lines, start=1) if position in wanted}
