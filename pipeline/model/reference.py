"""What a release was trained on, as a server counts what it is asked: bins, and the share of the rows in each.

``reference.json`` stands in a release beside its signature. A release is somebody else's input: what does not fit here,
or its signature, is refused.

==============  ====================================================================================
kind of bins    bins, in order
==============  ====================================================================================
``numbers``     missing, below all, those that begin at ``starts``, above ``high``
``categories``  missing, none of these, all that are too rare for a bin, one for each of ``values``
``parts``       missing, one for each whole number below ``size`` (an hour, a weekday, a class)
==============  ====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import isfinite
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from pipeline.messages import quote
from pipeline.model.signature import Signature

REFERENCE = "reference.json"
MISSING, OTHER, RARE = range(3)
"""First bins of categories; every kind begins with what is missing."""
MAX_BINS = 20
"""Bins of a column of numbers, and categories that have a bin of their own."""
MAX_PARTS = 64
MAX_RARE = 10_000
MAX_FEATURES = 2_000

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
Reading = Literal["value", "hour", "weekday", "length", "brightness", "prediction", "score"]
"""What is read of a column, or of the predictions."""

_OF_KIND: dict[str, tuple[Reading, ...]] = {
    "number": ("value",),
    "time": ("hour", "weekday"),
    "text": ("value", "length"),
    "image": ("brightness",),
}
_METRIC = re.compile(r"[a-z][a-z0-9_]{0,39}")
OF_PREDICTIONS: tuple[Reading, ...] = ("prediction", "score")


class NumberBins(Struct, frozen=True, forbid_unknown_fields=True, tag="numbers", tag_field="kind"):
    """Bins of numbers.

    Attributes
    ----------
    starts : tuple of float
        Where each bin begins; it ends where the next one does, or with `high`. Empty if there was no value.
    high : float
        The largest value.
    """

    starts: Annotated[tuple[float, ...], Meta(max_length=2 * MAX_BINS)]
    high: float

    @property
    def count(self) -> int:
        """How many bins there are."""
        return len(self.starts) + 3


class CategoryBins(Struct, frozen=True, forbid_unknown_fields=True, tag="categories", tag_field="kind"):
    """Bins of texts: one for each of `values`, one for all of `rare`."""

    values: Annotated[tuple[str, ...], Meta(max_length=MAX_BINS)]
    rare: Annotated[tuple[str, ...], Meta(max_length=MAX_RARE)] = ()

    @property
    def count(self) -> int:
        """How many bins there are."""
        return len(self.values) + 3


class PartBins(Struct, frozen=True, forbid_unknown_fields=True, tag="parts", tag_field="kind"):
    """Bins of whole numbers from 0."""

    size: Annotated[int, Meta(ge=1, le=MAX_PARTS)]

    @property
    def count(self) -> int:
        """How many bins there are."""
        return self.size + 1


Bins: TypeAlias = NumberBins | CategoryBins | PartBins


class ReferenceFeature(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is counted.

    Attributes
    ----------
    name : str
        ``COLUMN``, ``COLUMN[READING]``, or ``(prediction)`` and ``(score)``.
    column : str
        The column that is sent; "" for what is predicted.
    rows : int
        Rows that the shares are of: training rows, and test rows of what is predicted.
    shares : tuple of float
        Of the rows, in each bin.
    """

    name: str
    column: str
    reading: Reading
    rows: Annotated[int, Meta(ge=0)]
    bins: Bins
    shares: tuple[Share, ...]


class ScoreBin(Struct, frozen=True, forbid_unknown_fields=True):
    """Test rows whose score lies in one bin: their mean score, and the share in which the score's claim was true."""

    rows: Annotated[int, Meta(ge=0)]
    score: Share
    true: Share


class Reference(Struct, frozen=True, forbid_unknown_fields=True):
    """All that a release's answers are compared with.

    Attributes
    ----------
    features : tuple of ReferenceFeature
        Columns, the most important first; then what is predicted.
    calibration : tuple of ScoreBin
        For each bin of numbers of the score, in order; empty without scores. The score of two classes is the second
        one's probability, and its claim that this is the class; of more it is that of the likeliest one.
    metrics : dict
        What the release reached on its test rows.
    """

    version: Literal[1]
    features: Annotated[tuple[ReferenceFeature, ...], Meta(max_length=MAX_FEATURES)]
    calibration: Annotated[tuple[ScoreBin, ...], Meta(max_length=2 * MAX_BINS)] = ()
    metrics: Annotated[dict[str, float], Meta(max_length=100)] = {}


def write_reference(reference: Reference) -> bytes:
    """Write the bytes of ``reference.json``; the same reference has the same bytes."""
    return msgspec.json.format(msgspec.json.encode(reference), indent=1)


def read_reference(content: bytes, signature: Signature) -> Reference:
    """Read a reference, and hold it against the signature of its release.

    Raises
    ------
    ValueError
        It is no reference, or one of another model; the message says what was found and what was expected.
    """
    try:
        reference = msgspec.json.decode(content, type=Reference)
    except msgspec.DecodeError as error:
        raise ValueError(f"found {error}; expected a reference") from error
    if fault := next(_faults(reference, signature), None):
        raise ValueError(fault)
    return reference


def _faults(reference: Reference, signature: Signature) -> Iterator[str]:
    kinds = {each.name: each.kind for each in signature.inputs}
    names = [each.name for each in reference.features]
    if twice := next((name for name in names if names.count(name) > 1), None):
        yield f"found the feature {quote(twice)} twice; expected each once"
    for each in reference.features:
        allowed = _OF_KIND[kinds[each.column]] if each.column in kinds else ()
        if each.reading not in (allowed if each.column else OF_PREDICTIONS):
            found = f"{quote(each.name)}: found the {each.reading} of {quote(each.column)}"
            yield f"{found}; expected a column of the model, and what can be read of it"
        elif not isinstance(each.bins, _forms(each, kinds.get(each.column))):
            found = f"{quote(each.name)}: found bins of the kind {type(each.bins).__name__}"
            yield f"{found}; expected those of a column's {each.reading}"
        if len(each.shares) != each.bins.count or not _adds_up(each):
            yield f"{quote(each.name)}: found {len(each.shares)} shares; expected {each.bins.count} that add up to 1"
        yield from _bin_faults(each.name, each.bins)
    scored = [len(each.bins.starts) for each in reference.features
              if each.reading == "score" and isinstance(each.bins, NumberBins)]  # fmt: skip
    if unknown := next((name for name in reference.metrics if not _METRIC.fullmatch(name)), None):
        yield f"found the metric {quote(unknown[:100])}; expected letters, digits and _"
    if reference.calibration and scored != [len(reference.calibration)]:
        yield f"found a calibration of {len(reference.calibration)} bins; expected that of the score's bins"


def _forms(feature: ReferenceFeature, kind: str | None) -> tuple[type[Bins], ...]:
    if feature.reading == "prediction":
        return NumberBins, PartBins
    if feature.reading == "value" and kind == "text":
        return (CategoryBins,)
    return (PartBins,) if feature.reading in ("hour", "weekday") else (NumberBins,)


def _adds_up(feature: ReferenceFeature) -> bool:
    return abs(sum(feature.shares) - (1 if feature.rows else 0)) < 1e-6


def _bin_faults(name: str, bins: Bins) -> Iterator[str]:
    if isinstance(bins, NumberBins):
        edges = (*bins.starts, bins.high)
        grows = all(a < b for a, b in pairwise(bins.starts)) and (not bins.starts or bins.starts[-1] <= bins.high)
        if not grows or not all(map(isfinite, edges)):
            yield f"{quote(name)}: found bins that do not rise; expected finite numbers, each above the one before"
    elif isinstance(bins, CategoryBins) and _repeats((*bins.values, *bins.rare)):
        yield f"{quote(name)}: found a category twice; expected each in one bin"


def _repeats(values: Iterable[str]) -> bool:
    listed = list(values)
    return len(set(listed)) < len(listed)
