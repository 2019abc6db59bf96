"""Which values stand for a missing one: one rule for every format of data, for batches and for requests."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pipeline.model.columns import KINDS, ColumnType

MissingValue: TypeAlias = str | int | float

# What pandas reads as missing (pandas.read_csv, na_values), and the empty field.
MISSING_WORDS = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""Words that mean "missing" in a column of numbers, flags or times. In a text they are words like any other."""

_NUMBERS = (int, float)


@dataclass(frozen=True, slots=True)
class Missing:
    """What stands for a missing value in one column.

    Attributes
    ----------
    words : frozenset of str
        In a text exactly as it was given, before it is made uniform; elsewhere without white space around it.
    numbers : frozenset of float
        Only in columns of numbers: 999 stands for 999.0 too.
    """

    words: frozenset[str]
    numbers: frozenset[float] = frozenset()

    @classmethod
    def of(cls, type_: ColumnType, declared: Iterable[MissingValue] = ()) -> Missing:
        """Gather the words and numbers for a column of a type; declared ones come on top of the usual."""
        texts = [str(each) for each in declared]
        kind = KINDS[type_]
        if kind in {"text", "image"}:
            return cls(frozenset(["", *texts]) if kind == "text" else frozenset([""]))
        numbers = {each: number for each in texts if (number := _number(each)) is not None}
        if type_ == "bool":  # 0 and 1 are what a flag is
            return cls(frozenset([*MISSING_WORDS, *(each for each in texts if each not in numbers)]))
        words = frozenset([*MISSING_WORDS, *(each.strip() for each in texts)])
        return cls(words, frozenset(numbers.values()) if kind == "number" else frozenset())

    def has(self, value: Any) -> bool:
        """Tell whether a value that is no text is missing here, or a text in a column of numbers or times."""
        if type(value) is str:
            return value.strip() in self.words
        return type(value) in _NUMBERS and value in self.numbers


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
