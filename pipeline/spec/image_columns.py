"""Columns of images in a spec: their rules, and the columns of numbers that they become."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.model.columns import ColumnType
from pipeline.model.images.rules import ImageRule

if TYPE_CHECKING:  # the schema imports nothing that could import this
    from pipeline.spec.schema.spec import Data


def rules_of(data: Data) -> dict[str, ImageRule]:
    """Read the rule of each column of images."""
    images = {name: column.image for name, column in data.columns.items() if column.type == "image"}
    return {
        name: ImageRule() if each is None else ImageRule.from_json(each.model_dump()) for name, each in images.items()
    }


def with_parts(columns: Mapping[str, ColumnType], data: Data) -> dict[str, ColumnType]:
    """Insert, after each column of images, the columns that it becomes."""
    rules = rules_of(data)
    made: dict[str, ColumnType] = {}
    for name, type_ in columns.items():
        made[name] = type_
        if name in rules:
            made |= dict.fromkeys(rules[name].names(name), "float")
    return made
