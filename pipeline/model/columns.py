"""The four kinds of column that every frame between two steps consists of.

========  ==================  =======================  =================
kind      types of the spec   dtype                    missing value
========  ==================  =======================  =================
number    float, int, bool    float64                  NaN
text      str                 str (Arrow-backed)       NaN
time      datetime            datetime64[us], in UTC   NaT
image     image               str, its file in base64  NaN
========  ==================  =======================  =================

Behind an image stand the numbers that it becomes (`pipeline.model.images.rules`); no later step looks at the
image itself.

Integers are exact up to 2**53; longer ones are identifiers and belong in a ``str`` column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Literal

from pipeline.errors import DataError
from pipeline.messages import quote

ColumnType = Literal["float", "int", "str", "bool", "datetime", "image"]
Kind = Literal["number", "text", "time", "image"]

KINDS: Mapping[ColumnType, Kind] = {
    "float": "number",
    "int": "number",
    "bool": "number",
    "str": "text",
    "datetime": "time",
    "image": "image",
}

DTYPES: Mapping[Kind, str] = {"number": "float64", "text": "str", "time": "datetime64[us]", "image": "str"}


class Side(IntEnum):
    """What a row is used for."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


def merge_columns(per_partition: Mapping[str, Mapping[str, ColumnType | None]]) -> dict[str, ColumnType]:
    """Merge what each partition says about its columns.

    Parameters
    ----------
    per_partition : mapping
        Partition → its ``Reading.columns``. A type of None agrees with every other; if all are None it is ``float``.
        A partition without any column (an empty JSON Lines file) agrees with all.

    Raises
    ------
    DataError
        If two partitions differ in a column's type, or one lacks a column.
    """
    merged: dict[str, ColumnType | None] = {}
    source: dict[str, str] = {}
    for partition, columns in per_partition.items():
        for column, type_ in columns.items():
            known = merged.setdefault(column, type_)
            if known is not None and type_ is not None and known != type_:
                raise DataError(
                    f"read: {quote(column)}: found {known} in partition {source[column]!r} and {type_} in "
                    f"{partition!r}; expected one type: declare its type in data.columns (data.columns.{column}.type)"
                )
            if known is None or column not in source:
                merged[column], source[column] = type_ or known, partition
    _refuse_lacking({each: columns for each, columns in per_partition.items() if columns}, merged)
    return {column: type_ or "float" for column, type_ in merged.items()}


def _refuse_lacking(
    per_partition: Mapping[str, Mapping[str, ColumnType | None]], merged: Mapping[str, ColumnType | None]
) -> None:
    """Name the odd partitions: the smaller group, be it those that have a column or those that lack it."""
    for column in merged:
        having = [each for each, columns in per_partition.items() if column in columns]
        lacking = [each for each, columns in per_partition.items() if column not in columns]
        if not lacking:
            continue
        if len(having) < len(lacking):
            found = f"{having[0]!r} has the column {column!r}, but {_name(lacking)} not"
        else:
            gone = [each for each in merged if each not in per_partition[lacking[0]]]
            found = f"{lacking[0]!r} has no column {', '.join(map(repr, gone[:5]))}, but {having[0]!r} has"
        raise DataError(
            f"read: partition {found}; expected the same columns in every partition: declare those to use "
            "(data.columns)"
        )


def _name(partitions: Sequence[str]) -> str:
    """Name a few, and say how many more there are."""
    more = f" and {len(partitions) - 3} more" if len(partitions) > 3 else ""
    return f"{', '.join(map(repr, partitions[:3]))}{more} have"
