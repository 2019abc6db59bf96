"""From a parsed column to a canonical one: what a value must be to count as its type."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow import compute

from pipeline.model.columns import KINDS, ColumnType
from pipeline.model.missing import Missing, MissingValue
from pipeline.model.texts import moment

Mask: TypeAlias = npt.NDArray[np.bool_]

EXACT_INTEGERS = 2**53

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_FLAGS: Mapping[str, float] = {"true": 1.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "0": 0.0, "0.0": 0.0}


@dataclass(frozen=True)
class Misfit:
    """Values of one column that are not of its type.

    Attributes
    ----------
    rows : bool[n]
        Where they are.
    expected : str
        What stands there instead of.
    found : callable
        Index of a row → the value there, as text.
    """

    rows: Mask
    expected: str
    found: Callable[[int], str]


@dataclass(frozen=True)
class Converted:
    """One canonical column.

    Attributes
    ----------
    values : float64[n], datetime64[us][n] or text of n
        Missing where a value is a misfit.
    type : ColumnType or None
        None if it is not declared and all values are missing.
    """

    values: Any
    type: ColumnType | None
    misfits: tuple[Misfit, ...] = ()

    def to_pandas(self) -> Any:
        """Convert the values to a column of a frame."""
        return self.values if isinstance(self.values, np.ndarray) else self.values.to_pandas()


def infer_type(column: pa.ChunkedArray) -> ColumnType | None:
    """Tell the type of a column that is not declared; every number is a ``float``."""
    kind = column.type
    if column.null_count == len(column):
        return None
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return "datetime"
    return "float" if _is_number(kind) else "str"


def convert(
    column: pa.ChunkedArray,
    type_: ColumnType | None,
    written: str | None = None,
    declared: Sequence[MissingValue] = (),
) -> Converted:
    """Convert a parsed column to its canonical form.

    Parameters
    ----------
    column : ChunkedArray of n values
        Of the type itself, or of text to be read.
    type_ : ColumnType or None
        None for a column without any value, which becomes numbers.
    written : str, optional
        How a datetime is written, in strptime's codes; ISO 8601 otherwise.
    declared : sequence
        What stands for a missing value, besides what always does in a column of this type.
    """
    if pa.types.is_dictionary(column.type):
        column = compute.cast(column, column.type.value_type)
    if column.null_count == len(column):
        return Converted(_nothing(len(column), type_), type_)
    kind, missing = KINDS[type_ or "float"], Missing.of(type_ or "float", declared)
    if kind in {"text", "image"}:
        return Converted(_without_words(_to_text(column), missing.words), type_)
    values, unread = (
        _to_times(column, written, missing) if kind == "time" else _to_numbers(column, missing, flag=type_ == "bool")
    )
    if missing.numbers:
        values = np.where(np.isin(values, list(missing.numbers)), np.nan, values)
    misfits = [] if unread is None else [_unread_misfit(column, unread, type_, written)]
    if kind == "number":
        misfits += _find_number_misfits(values, type_, column)
    if misfits:
        bad = np.logical_or.reduce([each.rows for each in misfits])
        values = np.where(bad, np.array("NaT" if kind == "time" else np.nan, dtype=values.dtype), values)
    return Converted(values, type_, tuple(misfits))


def _nothing(count: int, type_: ColumnType | None) -> Any:
    if type_ in {"str", "image"}:
        return pa.nulls(count, pa.large_string())
    return np.full(count, np.datetime64("NaT", "us")) if type_ == "datetime" else np.full(count, np.nan)


def _to_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):  # of images
        column = pa.chunked_array([[each and base64.b64encode(each).decode() for each in column.to_pylist()]])
    return compute.cast(column, pa.large_string())


def _without_words(column: pa.ChunkedArray, words: Collection[str]) -> pa.ChunkedArray:
    listed = pa.array(sorted(words), column.type)
    found = compute.is_in(column, listed) if len(listed) > 1 else compute.equal(column, listed[0])
    return compute.if_else(found, None, column) if compute.any(found).as_py() else column


def _to_numbers(
    column: pa.ChunkedArray, missing: Missing, *, flag: bool
) -> tuple[npt.NDArray[np.float64], Mask | None]:
    if _is_number(column.type) or pa.types.is_boolean(column.type):
        return _floats(
            column if pa.types.is_float64(column.type) else compute.cast(column, pa.float64(), safe=False)
        ), None
    if not _is_text(column.type):
        return np.full(len(column), np.nan), column.is_valid().to_numpy()
    if not flag and (cast := _cast_texts(column, missing, pa.float64())) is not None:
        return _floats(cast), None
    return _read_each(column, _read_flag if flag else _read_number, np.dtype(np.float64), missing)


def _cast_texts(column: pa.ChunkedArray, missing: Missing, *kinds: pa.DataType) -> pa.ChunkedArray | None:
    """Cast all texts at once; None if one must be read by itself, as it is wrong or has white space around it."""
    for words in ([""], missing.words):  # most columns have no other word, and this is seven times as fast
        texts = _without_words(column, words)
        for kind in kinds:
            with contextlib.suppress(pa.ArrowInvalid):
                return compute.cast(texts, kind)
    return None


def _floats(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = column.to_numpy()
    return values


def _to_times(column: pa.ChunkedArray, written: str | None, missing: Missing) -> tuple[Any, Mask | None]:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return _utc(column), None
    if not _is_text(column.type):
        return np.full(len(column), np.datetime64("NaT", "us")), column.is_valid().to_numpy()
    kinds = [pa.timestamp("us", zone) for zone in (None, "UTC")]  # Arrow reads columns with or without zones, not mixed
    if written is None and (cast := _cast_texts(column, missing, *kinds)) is not None:
        return _utc(cast), None
    return _read_each(column, lambda text: moment(text, written), np.dtype("datetime64[us]"), missing)


def _utc(column: pa.ChunkedArray) -> Any:
    # Arrow keeps times with a zone in UTC; finer units than microseconds are cut off.
    return compute.cast(column, pa.timestamp("us"), safe=False).to_numpy()


def _read_each(
    column: pa.ChunkedArray, read: Callable[[str], Any], dtype: np.dtype[Any], missing: Missing
) -> tuple[Any, Mask | None]:
    """Read text value by value, each different one once."""
    codes, texts = pd.factorize(column.to_pandas())
    values = np.full(len(texts) + 1, "NaT" if dtype.kind == "M" else np.nan, dtype=dtype)
    unread = np.zeros(len(texts) + 1, dtype=bool)
    for index, text in enumerate(texts):
        try:
            values[index] = read(text)
        except ValueError:
            unread[index] = not missing.has(text)
    return values[codes], unread[codes] if unread.any() else None


def _read_number(text: str) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError(text)
    return float(text)


def _read_flag(text: str) -> float:
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError as error:
        raise ValueError(text) from error


_EXPECTED: Mapping[ColumnType, str] = {
    "float": "float",
    "int": "int",
    "bool": "bool (true, false, 1 or 0)",
    "str": "str",
    "datetime": "datetime in ISO 8601",
    "image": "an image in base64",
}


def _unread_misfit(column: pa.ChunkedArray, rows: Mask, type_: ColumnType | None, written: str | None) -> Misfit:
    expected = f"datetime written {written!r}" if written else _EXPECTED[type_ or "float"]
    return Misfit(rows, expected, lambda row: repr(column[row].as_py())[:60])


def _find_number_misfits(
    values: npt.NDArray[np.float64], type_: ColumnType | None, written: pa.ChunkedArray
) -> list[Misfit]:
    is_exact = pa.types.is_integer(written.type) or _is_text(written.type)  # else the file's digits are gone

    def find(row: int) -> str:
        return str(written[row]).strip()[:60] if is_exact else f"{values[row]:.17g}"

    found = [(expected, is_misfit(values)) for expected, is_misfit in _NUMBER_RULES[type_ or "float"]]
    return [Misfit(rows, expected, find) for expected, rows in found if rows.any()]


def _is_huge(values: npt.NDArray[np.float64]) -> Mask:
    return np.asarray((np.abs(values) > _LARGEST) & ~np.isinf(values))


def _is_long(values: npt.NDArray[np.float64]) -> Mask:
    return np.asarray((np.abs(values) >= EXACT_INTEGERS) & ~np.isinf(values))


def _is_fraction(values: npt.NDArray[np.float64]) -> Mask:
    return np.asarray((values != np.floor(values)) & ~np.isnan(values))


def _is_no_flag(values: npt.NDArray[np.float64]) -> Mask:
    return np.asarray((values != 0) & (values != 1) & ~np.isnan(values))


_FINITE = ("a finite number", np.isinf)
# Models compute in 32 bits, and squares of what is much larger leave even 64.
_LARGEST = float(np.finfo(np.float32).max)
_NUMBER_RULES: Mapping[ColumnType, tuple[tuple[str, Callable[..., Mask]], ...]] = {
    "float": (_FINITE, ("a number below 3.4e38", _is_huge)),
    "int": (_FINITE, ("an int", _is_fraction), ("an int below 2**53 (an identifier is a str)", _is_long)),
    "bool": ((_EXPECTED["bool"], _is_no_flag),),
}


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
