"""Captured rows as a caller would send them: of arrays, captures have the numbers and texts that the graph read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.model.signature import Input


def as_sent(row: Mapping[str, Any], columns: Sequence[Input], hidden: Collection[str] = ()) -> dict[str, Any]:
    """Write a captured record as a caller would; what captures hide is missing."""
    return {each.name: None if each.name in hidden else _value(row[each.name], each) for each in columns}


def _value(value: Any, column: Input) -> Any:
    if value == "" and column.kind == "text" and column.nullable:
        return None
    if not isinstance(value, float):
        return value
    if column.kind == "time":
        when = datetime.fromtimestamp(value, UTC)
        return when.strftime(column.format) if column.format else when.isoformat()
    return {"int": int, "bool": bool}.get(column.type, float)(value)
