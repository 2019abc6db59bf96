"""What was fitted: a file that a person can read, and all that the graph is compiled from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from pipeline.steps.features import Encoding
from pipeline.steps.normalize.words import WordRule


@dataclass(frozen=True)
class NumberRule:
    """How one number of the transformed frame becomes one of the matrix: fill, clip, find the bin, shift, scale.

    Attributes
    ----------
    name : str
        Name in the frame and in the matrix.
    fill : float or None
        What replaces a missing value; None leaves it missing.
    lower, upper : float or None
        Bounds to which values are clipped.
    edges : tuple of float or None
        Inner edges of the bins; the value becomes the number of edges at or below it.
    shift, scale : float
        The result is ``(value - shift) / scale``.
    drops : bool
        Whether training rows beyond the bounds are left out, instead of clipped.
    """

    name: str
    fill: float | None = None
    lower: float | None = None
    upper: float | None = None
    edges: tuple[float, ...] | None = None
    shift: float = 0.0
    scale: float = 1.0
    drops: bool = False


@dataclass(frozen=True)
class CategoryRule:
    """How one category becomes columns of the matrix.

    Attributes
    ----------
    name : str
        Name in the frame.
    text : bool
        Whether it is text; else categories are numbers, told apart by value.
    encoding : str
        ``one_hot``: a column for each category; ``ordinal``, ``frequency``: one column.
    fill : str, float or None
        What replaces a missing value; None keeps missing as a category of its own (None in ``categories``).
    categories : tuple
        By falling frequency, equally frequent ones in their order. All others count as unseen.
    values : tuple of float
        For ``ordinal`` the position, for ``frequency`` the share of the training rows, shifted and scaled.
    unseen : float
        The value of anything else: that of -1 for ``ordinal``, of 0 for ``frequency``. In ``one_hot`` all are 0.
    """

    name: str
    text: bool
    encoding: Encoding
    fill: str | float | None
    categories: tuple[str | float | None, ...]
    values: tuple[float, ...] = ()
    unseen: float = 0.0

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns in the matrix."""
        if self.encoding != "one_hot":
            return (self.name,)
        return tuple(f"{self.name}={_show(category)}" for category in self.categories)


def _show(category: str | float | None) -> str:
    if category is None:
        return "(missing)"
    return category if isinstance(category, str) else f"{category:.15g}"


@dataclass(frozen=True)
class Preprocessing:
    """Everything fitted on training rows.

    Attributes
    ----------
    numbers : tuple of NumberRule
        In the order of the frame.
    categories : tuple of CategoryRule
        First the numeric ones in the order of the frame, then the texts.
    features, labels : tuple of str
        Columns that the graph takes as ``features`` and ``labels``.
    rows : int
        Training rows fitted on.
    rank_error : float
        Largest error of a quantile's rank, as a share of the training rows; 0 if all are exact.
    notes : tuple of str
        What a person should know.
    words : tuple of WordRule
        In the order of the columns that the graph takes as ``words``.
    vectors : tuple of str
        Columns that the graph takes as ``vectors`` and gives on as they are.
    """

    numbers: tuple[NumberRule, ...]
    categories: tuple[CategoryRule, ...]
    features: tuple[str, ...]
    labels: tuple[str, ...]
    rows: int
    rank_error: float = 0.0
    notes: tuple[str, ...] = ()
    words: tuple[WordRule, ...] = ()
    vectors: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Columns of the matrix: plain numbers, binned ones, categories (one-hot ones first), words, vectors."""
        plain, binned = self.split_numbers()
        coded = (name for group in self.split_categories() for rule in group for name in rule.columns)
        worded = (name for rule in self.words for name in rule.columns)
        return (*(rule.name for rule in (*plain, *binned)), *coded, *worded, *self.vectors)

    def split_numbers(self) -> tuple[list[NumberRule], list[NumberRule]]:
        """Tell numbers without and with bins apart."""
        return [rule for rule in self.numbers if not rule.edges], [rule for rule in self.numbers if rule.edges]

    def split_categories(self) -> tuple[list[CategoryRule], ...]:
        """Group the categories as the graph does: numeric one-hot, numeric coded, text one-hot, text coded."""
        return tuple(
            [rule for rule in self.categories if rule.text == text and (rule.encoding == "one_hot") == hot]
            for text in (False, True)
            for hot in (True, False)
        )

    def to_json(self) -> dict[str, Any]:
        """Write a form for JSON, without infinities."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Preprocessing:
        """Read what `to_json` gave."""
        numbers = (
            NumberRule(**{**rule, "edges": None if rule["edges"] is None else tuple(rule["edges"])})
            for rule in data["numbers"]
        )
        categories = (
            CategoryRule(**{**rule, "categories": tuple(rule["categories"]), "values": tuple(rule["values"])})
            for rule in data["categories"]
        )
        lists = {name: tuple(data[name]) for name in ("features", "labels", "notes", "vectors")}
        words = tuple(map(WordRule.from_json, data["words"]))
        rows, error = int(data["rows"]), float(data["rank_error"])
        return cls(tuple(numbers), tuple(categories), rows=rows, rank_error=error, words=words, **lists)


def finite(value: float) -> float | None:
    """Replace NaN and infinities by None."""
    return value if math.isfinite(value) else None
