"""Columns without any value, which were read as numbers for want of a type."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from pipeline.model.columns import DTYPES, KINDS, ColumnType


def convert_valueless(rows: pd.DataFrame, types: Mapping[str, ColumnType]) -> pd.DataFrame:
    """Convert the columns of numbers that are of another type elsewhere: here they have no value."""
    kinds = {name: kind for name, type_ in types.items() if (kind := KINDS[type_]) != "number"}
    wrong = {name: DTYPES[kind] for name, kind in kinds.items() if name in rows and rows[name].dtype.kind == "f"}
    return rows.astype(wrong)
