"""Several small files are read as one where each would be read just so; else one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from pipeline.errors import DataError
from pipeline.model.columns import ColumnType, merge_columns
from pipeline.model.missing import Missing
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.conversion import EXACT_INTEGERS
from pipeline.steps.clean.reading.csv_files import parse_csv
from pipeline.steps.clean.reading.parsed import Parsed
from pipeline.steps.clean.reading.partition import Reading, read, read_parsed
from pipeline.steps.clean.reading.unpacking import tell_format, to_utf8
from pipeline.steps.column_types import convert_valueless

PARTITION = "partition"
_NO_TEXTS = ("true", "false", "inf", "infinity", "nan")
"""Words that Arrow may read as something else than a text."""


@dataclass(frozen=True)
class Source:
    """A file that is a partition: the partition's key, the file's bytes and its name."""

    partition: str
    content: bytes
    name: str


@dataclass(frozen=True)
class PackReading:
    """What several files hold.

    Attributes
    ----------
    rows : DataFrame
        Those of the first file, then those of the next.
    counts : list of int
        Rows of each file.
    quarantined : DataFrame
        As of one file, and ``partition``: which one.
    columns : dict
        As of one file; all agree.
    """

    rows: pd.DataFrame
    counts: list[int]
    quarantined: pd.DataFrame
    columns: Mapping[str, ColumnType | None]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def read_pack(sources: Sequence[Source], data: Data) -> PackReading:
    """Read several files; each gives the rows, types, quarantine and errors that `read` gives for it alone.

    Raises
    ------
    DataError
        As `read` of the first file that it refuses, or if two differ in a column's type or one lacks a column.
    """
    if len(sources) == 1:
        return _read_one(sources[0], data)
    if together := _read_together(sources, data):
        return together
    readings = {each.partition: read(each.content, each.name, data) for each in sources}
    types = merge_columns({name: each.columns for name, each in readings.items()})
    known = {column for each in readings.values() for column, type_ in each.columns.items() if type_}
    frames = [convert_valueless(each.rows, types) for each in readings.values()]
    aside = [each.quarantined.assign(**{PARTITION: name}) for name, each in readings.items()]
    return PackReading(
        rows=pd.concat(frames, ignore_index=True),
        counts=[len(each) for each in frames],
        quarantined=pd.concat(aside, ignore_index=True),
        columns={name: type_ if name in known else None for name, type_ in types.items()},
        notes=_all(each.notes for each in readings.values()),
        warnings=tuple(f"{name}: {said}" for name, each in readings.items() for said in each.warnings),
    )


def _read_one(source: Source, data: Data) -> PackReading:
    found = read(source.content, source.name, data)
    aside = found.quarantined.assign(**{PARTITION: source.partition})
    return PackReading(found.rows, [len(found.rows)], aside, found.columns, found.notes, found.warnings)


def _all(said: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for every in said for each in every))


def _read_together(sources: Sequence[Source], data: Data) -> PackReading | None:
    """Read files as one that has their records; None where one of them alone may be read in another way.

    So it is with CSV files of one header, without quotes and empty lines, in which nothing is wrong or doubtful.
    """
    if data.images or data.decimal != "." or data.thousands:
        return None
    try:
        if any(tell_format(each.name, data) != "csv" for each in sources):
            return None
        texts = [to_utf8(each.content, each.name, data) for each in sources]
        joined = _join([each if each.endswith(b"\n") else each + b"\n" for each in texts])
        if joined is None:
            return None
        content, counts = joined
        parsed = parse_csv(content, sources[0].name, data.model_copy(update={"encoding": "utf-8"}))
        if parsed.broken or parsed.warnings or parsed.rows != sum(counts) or not _is_clear(parsed, data):
            return None
        reading = read_parsed(parsed, sources[0].name, data)
    except DataError:  # which file it is, reading one by one says
        return None
    return None if len(reading.quarantined) or reading.warnings else _split(reading, counts)


def _split(reading: Reading, counts: list[int]) -> PackReading:
    aside = reading.quarantined.assign(**{PARTITION: pd.array([], dtype="str")})
    return PackReading(reading.rows, counts, aside, reading.columns, reading.notes, ())


def _join(texts: Sequence[bytes]) -> tuple[bytes, list[int]] | None:
    """Join the records of files behind their one header; return how many each has, too."""
    header = texts[0][: texts[0].index(b"\n") + 1]
    if not header.strip() or any(not each.startswith(header) for each in texts):
        return None
    bodies = [each[len(header) :] for each in texts]
    content = header + b"".join(bodies)
    if b'"' in content or b"\n\n" in content or b"\n\r\n" in content:
        return None
    return content, [each.count(b"\n") for each in bodies]


def _is_clear(parsed: Parsed, data: Data) -> bool:
    """Tell whether each file alone would have these types in the columns whose types are not declared."""
    missing = {word.lower() for word in Missing.of("float", data.missing_values).words}
    undeclared = [column for name, column in parsed.columns.items() if name not in data.columns]
    return all(_is_clear_column(each, missing) for each in undeclared)


def _is_clear_column(column: pa.ChunkedArray, missing: set[str]) -> bool:
    if pa.types.is_floating(column.type):  # a file of whole numbers alone would be held to more
        return bool(np.nanmax(np.abs(column.to_numpy()), initial=0) < EXACT_INTEGERS)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return True
    given = column.filter(compute.not_equal(column, "")).unique()
    if not compute.all(compute.match_substring_regex(given, r"^\pL")).as_py():
        return len(given) == 0
    words = pa.array(sorted({*_NO_TEXTS, *missing}), given.type)
    return not compute.any(compute.is_in(compute.utf8_lower(given), words)).as_py()
