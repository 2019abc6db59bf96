"""A raw row as the JSON that a caller would send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import Any

import pandas as pd

from pipeline.model.signature import Input


def record_of(row: pd.Series[Any], inputs: Sequence[Input]) -> dict[str, Any]:
    """Write a raw row as the JSON that a caller would send."""
    return {each.name: _json_value(row[each.name], each) for each in inputs}


def _json_value(value: Any, column: Input) -> Any:
    if pd.isna(value):
        return None
    if column.type == "datetime":
        moment = pd.Timestamp(value)
        return moment.strftime(column.format) if column.format else moment.tz_localize(UTC).isoformat()
    return {"int": int, "bool": bool, "float": float, "str": str, "image": str}[column.type](value)
