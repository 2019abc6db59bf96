"""One file becomes one canonical frame, and a quarantine of the rows that break the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pipeline.errors import DataError
from pipeline.messages import quote
from pipeline.model.columns import ColumnType
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.contract import Breach, find_breaches, suspect_rows
from pipeline.steps.clean.reading.conversion import EXACT_INTEGERS, Converted, convert, infer_type
from pipeline.steps.clean.reading.csv_files import parse_csv
from pipeline.steps.clean.reading.doubts import doubt_text
from pipeline.steps.clean.reading.image_files import parse_images
from pipeline.steps.clean.reading.image_paths import fetch_images, unpack_images
from pipeline.steps.clean.reading.json_files import parse_json_lines
from pipeline.steps.clean.reading.parquet_files import parse_parquet
from pipeline.steps.clean.reading.parsed import Parsed
from pipeline.steps.clean.reading.unpacking import Format, tell_format, unpack

_PARSERS: Mapping[Format, Callable[[bytes, str, Data], Parsed]] = {
    "csv": parse_csv,
    "jsonl": parse_json_lines,
    "parquet": parse_parquet,
    "images": parse_images,
}

# Smaller frames are copied into one block, which makes work on many columns faster; larger ones would take it twice.
_ONE_BLOCK_BYTES = 64 * 2**20

# Where too many rows are broken the file is refused, and so many are enough to say why.
_SAMPLED_ROWS = 1000


@dataclass(frozen=True)
class Reading:
    """What a file holds.

    Attributes
    ----------
    rows : DataFrame
        Canonical; the rows that keep the contract, in the file's order.
    quarantined : DataFrame
        One row for each broken one: ``row`` (its position among the file's records, counted from 1 without the
        header), ``rule`` (every rule that it breaks, joined by `` | ``) and ``text`` (the raw record).
    columns : dict
        Column → its type, declared or inferred; None where it is neither, having no value.
    notes : tuple of str
        What a user may want to know.
    warnings : tuple of str
        What a user must know: choices that may be wrong, with the rows that made them and the key that decides.
    """

    rows: pd.DataFrame
    quarantined: pd.DataFrame
    columns: dict[str, ColumnType | None]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read(source: bytes, name: str, data: Data) -> Reading:
    """Read one file: CSV, Parquet or JSON Lines, as it is, in ``.gz`` or alone in a ``.zip``.

    Parameters
    ----------
    source : bytes
        The file.
    name : str
        Its name, for the format and for messages.
    data : Data
        The spec's section. Where it declares columns only these are read; else all are, by inferred types.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or more than ``data.max_quarantined`` of its rows are broken.
    """
    rows, images = unpack_images(source, name, data) if data.images else (source, {})
    content, inner = unpack(rows, name)
    return read_parsed(_PARSERS[tell_format(inner, data)](content, name, data), name, data, images)


def read_parsed(parsed: Parsed, name: str, data: Data, images: Mapping[str, bytes] | None = None) -> Reading:
    """Read records that a parser has found: types, contract and quarantine; errors as in `read`.

    Parameters
    ----------
    images : mapping, optional
        By their path, where columns of images hold paths (``data.images``).
    """
    converted = _convert_columns(parsed, name, data)
    if data.images:
        converted = fetch_images(converted, images or {}, data)
    if any(each.type == "image" for each in data.columns.values()):
        from pipeline.steps.clean.reading.image_columns import expand_images  # nobody else needs OpenCV

        converted = expand_images(converted, data)
    positions = positions_of(parsed.rows, parsed.broken)
    warnings = (*parsed.warnings, *_doubts(converted, positions, data))
    frame = _to_frame(converted, parsed.rows)
    suspect = _suspects(frame, converted, data)
    _refuse_if_too_many(frame, suspect, positions, converted, parsed, name, data)
    rules = {positions[row]: rule for row, rule in _describe(frame, suspect, converted, data).items()}
    if rules:
        frame = frame[~np.isin(positions, list(rules))].reset_index(drop=True)
    columns = {each: column.type for each, column in converted.items()}
    return Reading(frame, _quarantine({**parsed.broken, **rules}, parsed), columns, parsed.notes, warnings)


def _convert_columns(parsed: Parsed, name: str, data: Data) -> dict[str, Converted]:
    converted = {}
    for each in [*data.columns, *(other for other in parsed.columns if other not in data.columns)]:
        column = parsed.columns.pop(each, None)
        if column is None:  # an optional one that the file lacks
            column = pa.chunked_array([pa.nulls(parsed.rows)])
        rule = data.columns.get(each)
        is_whole = str(column.type).removeprefix("u").startswith("int")
        type_ = rule.type if rule else infer_type(column)
        converted[each] = convert(column, type_, rule.format if rule else None, data.missing_values_of(each))
        if rule is None and is_whole:
            _refuse_long_integers(converted[each].values, column, each, name)
    return converted


def _doubts(converted: Mapping[str, Converted], positions: npt.NDArray[np.int64], data: Data) -> list[str]:
    inferred = {name: each for name, each in converted.items() if each.type == "str" and name not in data.columns}
    return [said for name, each in inferred.items() for said in doubt_text(name, each.values, positions)]


def _refuse_long_integers(values: npt.NDArray[np.float64], written: pa.ChunkedArray, column: str, name: str) -> None:
    if np.nanmax(sizes := np.abs(values), initial=0) >= EXACT_INTEGERS:
        longest = written[int(np.nanargmax(sizes))]  # as the file has it: a float has lost its last digits
        raise DataError(
            f"read: {name}: {quote(column)}: found the integer {longest}, too long to be kept as a number; "
            f"expected integers below 2**53, or the type str (data.columns.{column}.type)"
        )


def _to_frame(converted: Mapping[str, Converted], rows: int) -> pd.DataFrame:
    columns = {name: each.to_pandas() for name, each in converted.items()}
    small = rows * len(columns) * 8 < _ONE_BLOCK_BYTES
    return pd.DataFrame(columns, index=pd.RangeIndex(rows), copy=small)


def positions_of(rows: int, broken: Collection[int]) -> npt.NDArray[np.int64]:
    """List the position in the file, counted from 1, of each row that is not broken."""
    everything = np.arange(1, rows + len(broken) + 1)
    return np.setdiff1d(everything, np.array(list(broken), dtype=np.int64)) if broken else everything


def _suspects(frame: pd.DataFrame, converted: Mapping[str, Converted], data: Data) -> npt.NDArray[np.bool_]:
    suspect = suspect_rows(frame, data.columns)
    for column in converted.values():
        for misfit in column.misfits:
            suspect |= misfit.rows
    return suspect


def _describe(
    frame: pd.DataFrame, suspect: npt.NDArray[np.bool_], converted: Mapping[str, Converted], data: Data
) -> dict[int, str]:
    """List for each broken row, by its index in the frame, every rule that it breaks."""
    rules: dict[int, list[str]] = {}
    for breach in _breaches(frame, suspect, converted, data):
        rules.setdefault(breach.row, []).append(breach.rule)
    return {row: " | ".join(each) for row, each in sorted(rules.items())}


def _breaches(
    frame: pd.DataFrame, suspect: npt.NDArray[np.bool_], converted: Mapping[str, Converted], data: Data
) -> list[Breach]:
    rows = np.flatnonzero(suspect)
    if not len(rows):
        return []
    misfits = [
        Breach(int(row), name, "type", misfit.found(int(row)), misfit.expected)
        for name, column in converted.items()
        for misfit in column.misfits
        for row in rows[misfit.rows[rows]]
    ]
    known = {(each.row, each.column) for each in misfits}  # such a value is missing by now, and would break more rules
    return misfits + [
        each for each in find_breaches(frame.iloc[rows], data.columns) if (each.row, each.column) not in known
    ]


def _refuse_if_too_many(
    frame: pd.DataFrame,
    suspect: npt.NDArray[np.bool_],
    positions: npt.NDArray[np.int64],
    converted: Mapping[str, Converted],
    parsed: Parsed,
    name: str,
    data: Data,
) -> None:
    broken, total = int(suspect.sum()) + len(parsed.broken), len(frame) + len(parsed.broken)
    if broken <= data.max_quarantined * total:
        return
    sampled = suspect & (np.cumsum(suspect) <= _SAMPLED_ROWS)
    examples = [(position, rule) for position, rule in list(parsed.broken.items())[:_SAMPLED_ROWS]]
    kinds: Counter[str] = Counter(rule for _, rule in examples)
    shown = {rule: f"row {position}: {rule}" for position, rule in reversed(examples)}
    files = tell_format(name, data) == "images"
    for breach in _breaches(frame, sampled, converted, data):
        kind, position = f"{breach.column}.{breach.key}.{breach.expected}", int(positions[breach.row])
        kinds[kind] += 1
        if kind not in shown:
            place = parsed.texts([position])[position] if files else f"row {position}"
            shown[kind] = f"{place}: {breach.rule}"
    rules = "\n  ".join(shown[kind] for kind, _ in kinds.most_common(5))
    raise DataError(
        f"read: {name}: {broken:,} of {total:,} rows ({broken / total:.1%}) break the contract; "
        f"expected at most {data.max_quarantined:.1%} (data.max_quarantined)\n  {rules}"
    )


def _quarantine(rules: Mapping[int, str], parsed: Parsed) -> pd.DataFrame:
    positions = sorted(int(each) for each in rules)
    texts = parsed.texts(positions) if positions else {}
    columns: dict[str, Any] = {
        "row": pd.array(positions, dtype="int64"),
        "rule": pd.array([rules[each] for each in positions], dtype="str"),
        "text": pd.array([texts.get(each, "") for each in positions], dtype="str"),
    }
    return pd.DataFrame(columns)
