"""The features between the raw columns and the matrix, and the rules that apply to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from pipeline.model.sentences import Sentences
from pipeline.model.words import Words
from pipeline.spec.schema.spec import Missing, Outliers, Spec
from pipeline.spec.schema.transform import Transformer

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

Encoding = Literal["one_hot", "ordinal", "frequency"]
Origin = Literal["none", "log", "sqrt", "power", "bins", "cyclic", "date_parts", "category", "indicator", "interaction"]

TARGET = "(target)"
"""Name of the target in a transformed frame; no feature can have it."""


@dataclass(frozen=True)
class Feature:
    """One output of the transformation.

    Attributes
    ----------
    name : str
        Name in the transformed frame.
    column : str
        The raw or derived column that it comes from, whose rules hold for it.
    origin : str
        What made it.
    encoding : str or None
        For categories: how they become columns of the matrix.
    max_categories : int
        For categories: how many are kept.
    bins : int or None
        For bins that are fitted: their number.
    from_source : bool
        Whether its fill is the transformer applied to the fill of its column.
    """

    name: str
    column: str
    origin: Origin = "none"
    encoding: Encoding | None = None
    max_categories: int = 50
    bins: int | None = None
    from_source: bool = False


@dataclass(frozen=True)
class TextFeature:
    """A column of text whose words become features.

    Attributes
    ----------
    words : Words
        How its words are found, before the graph.
    rule : Transformer
        What they become.
    """

    words: Words
    rule: Transformer

    @property
    def name(self) -> str:
        """Name in the transformed frame, where it holds the words: that of the column."""
        return self.words.column


@dataclass(frozen=True)
class Transform:
    """The compiled row-wise transformation.

    Attributes
    ----------
    model : ModelProto
        Inputs ``numbers`` double[N, K] and ``texts`` string[N, S]; outputs ``features`` double[N, M] and ``labels``
        string[N, Q]. What has no columns is left out.
    bulk : ModelProto or None
        The same nodes for whole tables: outputs ``measured`` double[N, M + R], the features and then the sources, and
        ``labels`` with the derived texts alone. None where no number and no derived text is needed.
    refill : ModelProto or None
        From ``sources`` double[N, R] to ``features``: those features that have `Feature.from_source`, in their order.
    numbers, texts : tuple of str
        Columns of the inputs.
    bulk_texts : tuple of str
        Columns of the input ``texts`` of ``bulk``.
    features, labels : tuple of Feature
        Columns of the outputs.
    derived_labels : tuple of str
        The labels that ``bulk`` gives; all others are raw columns.
    sources : tuple of str
        Columns whose values before the transformer are measured, to find their fills.
    required : tuple of str
        Derived columns whose missing value drops the row.
    words : tuple of TextFeature
        Columns of the input ``words`` string[N, W] that the fitted graph has besides.
    sentences : tuple of Sentences
        Columns whose vectors, side by side, are the input ``vectors`` float32[N, V] that it has besides.
    """

    model: ModelProto
    bulk: ModelProto | None
    refill: ModelProto | None
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    bulk_texts: tuple[str, ...]
    features: tuple[Feature, ...]
    labels: tuple[Feature, ...]
    derived_labels: tuple[str, ...]
    sources: tuple[str, ...]
    required: tuple[str, ...]
    words: tuple[TextFeature, ...] = ()
    sentences: tuple[Sentences, ...] = ()

    @cached_property
    def bulk_session(self) -> InferenceSession | None:
        """Load ``bulk``, once for all partitions and threads: to load it takes longer than a small partition."""
        from pipeline.model.graphs import open_session  # imports ONNX Runtime: a plan needs none

        return None if self.bulk is None else open_session(self.bulk)

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of a transformed frame, but for the target."""
        vectors = (name for each in self.sentences for name in each.columns)
        return (*(each.name for each in (*self.features, *self.labels)), *(each.name for each in self.words), *vectors)


def missing_rule(spec: Spec, column: str) -> Missing | None:
    """Find the rule for a column's missing values, its own or that of ``"*"``."""
    return spec.clean.missing.get(column) or spec.clean.missing.get("*")


def fitted_outliers(spec: Spec, transform: Transform) -> Mapping[str, Outliers]:
    """List the outlier rules whose bounds are found on training rows, by feature."""
    rules = {name: rule for name, rule in spec.clean.outliers.items() if rule.by != "range"}
    names = {each.name for each in transform.features if each.origin == "none"}
    return {name: rule for name, rule in rules.items() if name in names}


def normalize_rule(spec: Spec, feature: Feature) -> str:
    """Find how a feature is scaled: by the rule for its column, or ``"*"``, else not at all."""
    return spec.normalize.get(feature.column) or spec.normalize.get("*") or "none"


def number_fill(spec: Spec, column: str) -> Missing:
    """Find what replaces a missing number in the graph.

    The median does so where no rule says anything else, which includes the rules that are carried out on the rows
    (``drop``, ``interpolate``, ``forward_fill``): a missing value that is served nevertheless needs some value.
    """
    rule = missing_rule(spec, column)
    suits = rule is not None and (rule.fill in _FILLED or (rule.fill == "constant" and _is_number(rule.value)))
    return rule if rule is not None and suits else Missing(fill="median")


def category_fill(spec: Spec, column: str, *, text: bool) -> Missing | None:
    """Find what replaces a missing category; None where missing is a category of its own."""
    own, rule = spec.clean.missing.get(column), missing_rule(spec, column)
    if rule is None:
        return None
    if rule.fill == "constant":
        suits = isinstance(rule.value, str) if text else _is_number(rule.value)
        return rule if suits else None
    if rule.fill == "mode" or (own is not None and not text and rule.fill in ("mean", "median")):
        return rule
    return None


_FILLED = ("mean", "median", "mode", "keep")


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


COUNTED_WORDS = frozenset({"bag_of_words", "tfidf", "token_ids"})
"""Kinds of transformer that need to know which words there are, and how often."""


def source_name(column: str) -> str:
    """Name the statistics of a column's values before its transformer."""
    return f"raw {column}"


@dataclass(frozen=True)
class Needs:
    """Which statistics the fit reads, beyond moments.

    Attributes
    ----------
    counted, ranked : tuple of str
        Entries of the statistics whose values are counted, and summarized for quantiles.
    worded : mapping of str to tuple of int
        Columns whose words are counted → how many words in a row.
    """

    counted: tuple[str, ...]
    ranked: tuple[str, ...]
    worded: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def needs_of(spec: Spec, transform: Transform) -> Needs:
    """Find which statistics the fit will read."""
    fills = {each.name: number_fill(spec, each.column).fill for each in transform.features if not each.from_source}
    sources = {source_name(column): number_fill(spec, column).fill for column in transform.sources}
    for each in transform.features:
        if each.origin == "indicator":
            fills[each.name] = "keep"
        elif each.encoding:
            fill = category_fill(spec, each.column, text=False)
            fills[each.name] = fill.fill if fill else "keep"
    entries = fills | sources
    outliers = fitted_outliers(spec, transform)
    ranked = [name for name, fill in entries.items() if fill == "median"]
    ranked += [name for name, rule in outliers.items() if rule.by in ("quantile", "iqr")]
    ranked += [each.name for each in transform.features if each.bins or _is_robust(spec, each)]
    counted = [each.name for each in transform.labels] + [each.name for each in transform.features if each.encoding]
    counted += [name for name, fill in entries.items() if fill == "mode"]
    worded = {each.name: each.rule.ngrams for each in transform.words if each.rule.kind in COUNTED_WORDS}
    return Needs(tuple(dict.fromkeys(counted)), tuple(dict.fromkeys(ranked)), worded)


def _is_robust(spec: Spec, feature: Feature) -> bool:
    return not feature.encoding and normalize_rule(spec, feature) == "robust"
