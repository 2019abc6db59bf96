"""A column of images and, after it, the columns of numbers that they become."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.model.images.decoding import read_image
from pipeline.model.images.headers import ImageError
from pipeline.model.images.rules import ImageRule
from pipeline.spec.image_columns import rules_of
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.conversion import Converted, Misfit


def expand_images(converted: Mapping[str, Converted], data: Data) -> dict[str, Converted]:
    """Insert, after each column of images, the numbers that they become; a value that is no image is a misfit."""
    rules, made = rules_of(data), dict[str, Converted]()
    for name, column in converted.items():
        made |= _expand(name, column, rules[name]) if name in rules else {name: column}
    return made


def _expand(name: str, column: Converted, rule: ImageRule) -> dict[str, Converted]:
    texts = column.values.to_pylist()
    names = rule.names(name)
    numbers = np.full((len(texts), len(names)), np.nan)
    wrong: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        try:
            if text is not None:
                numbers[row] = read_image(text, rule)
        except ImageError as error:
            wrong.setdefault(str(error), []).append(row)
    misfits = tuple(_misfit(expected, rows, texts) for expected, rows in wrong.items())
    columns = np.asfortranarray(numbers)
    parts = {each: Converted(columns[:, place], "float") for place, each in enumerate(names)}
    return {name: Converted(column.values, "image", (*column.misfits, *misfits)), **parts}


def _misfit(expected: str, rows: list[int], texts: list[str | None]) -> Misfit:
    mask = np.zeros(len(texts), dtype=bool)
    mask[rows] = True
    return Misfit(mask, expected, lambda row: f"{len(texts[row] or '') * 3 // 4:,} bytes")
