"""Columns of values (tensors, Arrow, Parquet, CSV) as the arrays that the graph reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.model.signature import Input
from pipeline.serving.rows.faults import Fault, NotFinite, RejectedError, describe, shorten
from pipeline.serving.rows.records import LARGEST_INTEGER, Reader, Rows, rejected

Column = Sequence[Any] | NDArray[Any]
_NUMERIC = frozenset("fiu")


def read_columns(reader: Reader, columns: Mapping[str, Column]) -> Rows:
    """Read rows that come as one column each.

    Parameters
    ----------
    columns : mapping
        Every column of the signature; lists of JSON values, or arrays of shape (n,). NaN, like null, is missing.

    Raises
    ------
    RejectedError
        With status 422, and every problem, five at most.
    """
    faults = list(_outer_faults(reader, columns))
    if faults:
        raise rejected(faults)
    count = len(next(iter(columns.values()))) if columns else 0
    numbers = np.empty((count, reader.width)) if reader.numbers else None
    texts = np.empty((count, len(reader.texts)), dtype=object) if reader.texts else None
    slots = ((numbers, reader.numbers, reader.places), (texts, reader.texts, range(len(reader.texts))))
    for matrix, which, places in slots:
        for index, place in zip(which, places, strict=True):
            column = reader.inputs[index]
            if matrix is not None:
                matrix[:, place] = _converted(column, columns[column.name], reader.converts[index])
    return Rows(numbers, texts, count)


def _outer_faults(reader: Reader, columns: Mapping[str, Column]) -> Iterator[Fault]:
    names = [each.name for each in reader.inputs]
    for name in names:
        if name not in columns:
            yield Fault("no such column", "one of each", column=name)
    for name in columns:
        if name not in reader.name_set:
            yield Fault("an unknown column", f"only {reader.listed()}", column=shorten(name))
    lengths = {name: len(columns[name]) for name in names if name in columns}
    if len(set(lengths.values())) > 1:
        yield Fault(", ".join(f"{count} in '{name}'" for name, count in lengths.items())[:200], "columns of one length")


def _converted(column: Input, values: Column, convert: Callable[[Any], Any]) -> Any:
    if isinstance(values, np.ndarray):
        fast = _vectorized(column, values)
        if fast is not None:
            return fast
        values = values.tolist()
    plain = [_plain(each) for each in values]
    try:
        return [convert(each) for each in plain]
    except (ValueError, OverflowError):
        raise rejected(_cell_faults(column, plain, convert)) from None


def _plain(value: Any) -> Any:
    """Convert a value to what JSON would hold: null for NaN."""
    if type(value) is float and not math.isfinite(value):
        return None if math.isnan(value) else NotFinite("Infinity" if value > 0 else "-Infinity")
    return value


def _vectorized(column: Input, values: NDArray[Any]) -> NDArray[np.float64] | None:
    """Convert a whole array at once; None if it holds anything that must be looked at by itself."""
    kind = values.dtype.kind
    if column.type == "bool" and kind == "b":
        return values.astype(np.float64)
    if column.kind == "time" and kind == "M":
        return _seconds(column, values)
    if column.type not in {"float", "int"} or kind not in _NUMERIC:
        return None
    numbers = values.astype(np.float64)
    if absent := column.missing.numbers:
        numbers[np.isin(numbers, list(absent))] = np.nan
    missing = np.isnan(numbers)
    if np.isinf(numbers).any() or (missing.any() and not column.nullable):
        return None
    if column.type == "int":
        whole = missing | ((np.floor(numbers) == numbers) & (np.abs(numbers) <= LARGEST_INTEGER))
        return numbers if whole.all() else None
    return numbers


def _seconds(column: Input, moments: NDArray[Any]) -> NDArray[np.float64]:
    """Convert times in UTC to seconds since 1970."""
    missing = np.isnat(moments)
    if missing.any() and not column.nullable:
        fault = Fault("null", "a value (the column is not nullable)", int(missing.argmax()), column.name)
        raise rejected([fault])
    return np.where(missing, np.nan, moments.astype("datetime64[us]").astype(np.int64) / 1e6)


def _cell_faults(column: Input, values: Sequence[Any], convert: Callable[[Any], Any]) -> Iterator[Fault]:
    for row, value in enumerate(values):
        try:
            convert(value)
        except (ValueError, OverflowError) as unfit:
            yield Fault(describe(value), str(unfit), row, column.name)


def check_count(count: int, limit: int) -> None:
    """Refuse more rows than one request may have."""
    if count > limit:
        raise RejectedError(422, f"found {count} rows; expected at most {limit} (send them in several requests)")
