"""The three kinds of column that every frame between two steps consists of.

========  ==================  =======================  =================
kind      types of the spec   dtype                    missing value
========  ==================  =======================  =================
number    float, int, bool    float64                  NaN
text      str                 str (Arrow-backed)       NaN
time      datetime            datetime64[us], in UTC   NaT
========  ==================  =======================  =================

Integers are exact up to 2**53; longer ones are identifiers and belong in a ``str`` column.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Literal

from pipeline.errors import DataError
from pipeline.spec.schema import ColumnType

Kind = Literal["number", "text", "time"]

KINDS: Mapping[ColumnType, Kind] = {
    "float": "number",
    "int": "number",
    "bool": "number",
    "str": "text",
    "datetime": "time",
}


class Side(IntEnum):
    """What a row is used for."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


def merge_columns(partitions: Mapping[str, Mapping[str, ColumnType | None]]) -> dict[str, ColumnType]:
    """Give each column the one type that all partitions agree on.

    Parameters
    ----------
    partitions : dict
        Partition → column → type; None where the partition has no value to tell it from.

    Raises
    ------
    DataError
        If two partitions disagree; the message names both.
    """
    merged: dict[str, ColumnType | None] = {}
    seen_in: dict[str, str] = {}
    for partition, columns in partitions.items():
        for name, found in columns.items():
            known = merged.setdefault(name, found)
            if known is None or seen_in.get(name) is None:
                merged[name] = found
            elif found is not None and found != known:
                raise DataError(
                    f"{name}: found {known} in partition {seen_in[name]} and {found} in {partition}; expected one type:"
                    " declare it in data.columns"
                )
            if found is not None:
                seen_in.setdefault(name, partition)
    return {name: found or "float" for name, found in merged.items()}
