"""Checks of ``features``, ``transform`` and ``normalize``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from pipeline.messages import article, describe, examples, join, quote
from pipeline.model.columns import ColumnType
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.spec.checking.data import check_names
from pipeline.spec.checking.view import EVERY, View
from pipeline.spec.findings import Finding, KeyPath
from pipeline.spec.schema.transform import ENCODED, WORDED, Transformer

_ENCODERS = ("category", "one_hot", "ordinal", "frequency")
_ONE_HOT = frozenset({"category", "one_hot"})
_CHOSEN = tuple(kind for kind in WORDED if kind != "hashing")
_GRAMS = ("bag_of_words", "tfidf", "hashing")

# Kind → types of column that it can't read.
_UNSUITED: Mapping[str, frozenset[ColumnType]] = {
    "none": frozenset({"str"}),
    **dict.fromkeys(("log", "sqrt", "power", "bins"), frozenset[ColumnType]({"str", "bool", "datetime", "image"})),
    "cyclic": frozenset({"str", "bool", "image"}),
    "date_parts": frozenset({"float", "int", "str", "bool", "image"}),
    **dict.fromkeys(_ENCODERS, frozenset[ColumnType]({"datetime", "image"})),
    **dict.fromkeys((*WORDED, ENCODED), frozenset[ColumnType]({"float", "int", "bool", "datetime", "image"})),
}

# Key of a transformer → the kinds that take it.
_TAKEN_BY: Mapping[str, tuple[str, ...]] = {
    "exponent": ("power",),
    "edges": ("bins",),
    "count": ("bins",),
    "period": ("cyclic",),
    "parts": ("date_parts", "cyclic"),
    "max_categories": _ENCODERS,
    "max_features": _CHOSEN,
    "min_rows": _CHOSEN,
    "ngrams": _GRAMS,
    "buckets": ("hashing",),
    "lowercase": WORDED,
    "max_words": tuple(kind for kind in WORDED if kind != "token_ids"),
    "length": ("token_ids",),
    **dict.fromkeys(("size", "window", "epochs"), ("word2vec",)),
    "encoder": ("sentence_vectors",),
}


def check_features(view: View) -> Iterator[Finding]:
    """Check which columns the model sees, and that none gives the target away."""
    features = view.spec.features
    yield from check_names(view, ("features", "select"), features.select or [])
    yield from check_names(view, ("features", "drop"), features.drop)
    for i, name in enumerate(features.drop):
        if name in (features.select or ()):
            yield Finding(("features", "drop", i), f"{quote(name)}, which features.select names", "one or the other")
    yield from _check_leaks(view)
    yield from _check_interactions(view)
    if view.declared and not view.features():
        yield Finding(("features",), "no column that is left as a feature", "at least one")


def _check_leaks(view: View) -> Iterator[Finding]:
    selected, target = view.spec.features.select, view.spec.model.target
    for i, name in enumerate(view.features()):
        known = view.sources(name) & view.target_sources
        if not known:
            continue
        role = (
            "the target" if name == target else f"{quote(name)}, which the target {quote(str(target))} is derived from"
        )
        if name not in view.target_sources:
            role = f"{quote(name)}, which reads {examples(sorted(known))} as the target does"
        path: KeyPath = ("data", "derive", name) if selected is None else ("features", "select", i)
        mend = "its name in features.drop" if selected is None else "features that are known before it"
        yield Finding(
            path, f"a feature that gives the target away: {role}", mend, "key" if selected is None else "value"
        )


def _check_interactions(view: View) -> Iterator[Finding]:
    features = view.features()
    for i, pair in enumerate(view.spec.features.interactions):
        for j, name in enumerate(pair):
            path = ("features", "interactions", i, j)
            unknown = list(view.missing_column(path, name))
            yield from unknown
            if unknown:
                continue
            if (view.declared or view.spec.features.select is not None) and name not in features:
                yield Finding(path, f"{quote(name)}, which is no feature", f"a feature ({examples(features)})")
            elif view.type_of(name) in {"str", "datetime", "image"} or _kind(view, name) in {
                *_ENCODERS,
                "cyclic",
                "bins",
            }:
                yield Finding(path, f"{quote(name)}, which is no number", "a numeric feature")


def _kind(view: View, name: str) -> str | None:
    rule = view.spec.transform.get(name)
    return rule.kind if rule else None


def check_transform(view: View) -> Iterator[Finding]:
    """Check that each transformer has what it needs, and suits its column."""
    for name, rule in view.spec.transform.items():
        path = ("transform", name)
        yield from view.missing_column(path, name)
        yield from _check_taken(path, rule)
        yield from _check_needs(view, path, name, rule)
        type_ = view.type_of(name)
        if type_ in _UNSUITED[rule.kind]:
            suited = join(kind for kind, types in _UNSUITED.items() if type_ not in types)
            yield Finding(path, f"{quote(rule.kind)} for {article(type_)} column", suited)
        if name == view.spec.model.target:
            yield Finding(path, "a transformer for the target", "transformers for features only", "key")


def _check_taken(path: KeyPath, rule: Transformer) -> Iterator[Finding]:
    for key, kinds in _TAKEN_BY.items():
        if key in rule.model_fields_set and getattr(rule, key) is not None and rule.kind not in kinds:
            yield Finding((*path, key), f"{quote(key)} with {quote(rule.kind)}", f"it only with {join(kinds)}", "key")


def _check_needs(view: View, path: KeyPath, name: str, rule: Transformer) -> Iterator[Finding]:
    if rule.kind == "power" and rule.exponent is None:
        yield Finding(path, "no exponent", "one, such as {kind: power, exponent: 0.5}")
    if rule.kind == "bins":
        yield from _check_bins(path, rule)
    if rule.kind == "cyclic":
        yield from _check_cyclic(view, path, name, rule)
    if rule.kind in {*WORDED, ENCODED}:
        yield from _check_words(view, path, name, rule)
    if rule.kind in {"log", "sqrt"}:
        column = view.spec.data.columns.get(name)
        if column and column.range and column.range[0] is not None and column.range[0] < 0:
            found = f"{quote(rule.kind)} for a column whose range starts at {column.range[0]:g}"
            yield Finding(path, found, f"a column of at least 0 (data.columns.{name}.range)")


def check_token_ids(view: View) -> Iterator[Finding]:
    """Check that who gets the numbers of words takes them for words, and that who needs them gets nothing else."""
    model, info = view.spec.model, view.trainer
    if info is None:
        return
    numbered = [name for name, rule in view.spec.transform.items() if rule.kind == "token_ids"]
    if info.reads in {"numbers", "pixels"}:
        able = [name for name, each in TRAINERS.items() if each.reads == "words"]
        for name in numbered:
            found = f"'token_ids' for {model.trainer}, which takes the numbers of words for amounts"
            yield Finding(("transform", name), found, f"a kind such as tfidf, or a trainer such as {join(able)}")
    elif info.reads == "words" and model.params.get("vocabulary") is None:
        features = view.features()
        others = [name for name in features if name not in numbered]
        expected = "one text alone, with the transformer token_ids (features.select, transform)"
        if others:
            yield Finding(("model", "trainer"), f"{model.trainer} with the features {examples(others)}", expected)
        elif len(features) > 1:
            yield Finding(("model", "trainer"), f"{model.trainer} with {len(features)} texts", expected)


def _check_words(view: View, path: KeyPath, name: str, rule: Transformer) -> Iterator[Finding]:
    if name in view.spec.data.derive:
        yield Finding(path, f"{quote(rule.kind)} for a derived column", "a column of the data, or one_hot")
    if rule.ngrams[0] > rule.ngrams[1]:
        yield Finding((*path, "ngrams"), f"{list(rule.ngrams)}", "the least first, such as [1, 2]")


def _check_bins(path: KeyPath, rule: Transformer) -> Iterator[Finding]:
    if (rule.edges is None) == (rule.count is None):
        found = "neither edges nor count" if rule.edges is None else "both edges and count"
        yield Finding(path, found, "one of them, such as {kind: bins, count: 10}")
    if rule.edges and any(low >= high for low, high in pairwise(rule.edges)):
        yield Finding((*path, "edges"), "edges that don't rise", "each edge above the one before")


def _check_cyclic(view: View, path: KeyPath, name: str, rule: Transformer) -> Iterator[Finding]:
    type_, column = view.type_of(name), view.spec.data.columns.get(name)
    if type_ == "datetime":
        if not rule.parts:
            yield Finding(path, "no parts", "what turns, such as {kind: cyclic, parts: [hour, weekday]}")
        if rule.period is not None:
            yield Finding((*path, "period"), f"{rule.period:g} for a time", "parts, each with a period of its own")
    elif type_ is not None and rule.parts:
        yield Finding((*path, "parts"), f"parts for {article(type_)} column", "a period", "key")
    elif rule.period is None and not rule.parts and not (column and column.range and None not in column.range):
        expected = f"one, such as {{kind: cyclic, period: 24}}, or both bounds of data.columns.{name}.range"
        yield Finding(path, "no period", expected)
    elif rule.period is None and column and column.range and column.range[0] == column.range[1]:
        yield Finding(path, "a range without width", "a period")
    if "year" in (rule.parts or ()):
        yield Finding((*path, "parts"), "'year', which never returns", "parts that turn, such as month or hour")
    for i, part in enumerate(rule.parts or ()):
        if part in (rule.parts or ())[:i]:
            yield Finding((*path, "parts", i), f"{quote(part)} a second time", "each part once")


def check_normalize(view: View) -> Iterator[Finding]:
    """Check that what is scaled is a number."""
    for name, rule in view.spec.normalize.items():
        path = ("normalize", name)
        if name == EVERY:
            continue
        yield from view.missing_column(path, name)
        kind = _kind(view, name) or ("one_hot" if view.type_of(name) == "str" else None)
        if rule != "none" and kind in {*_ONE_HOT, *WORDED, ENCODED}:
            expected = "'none', since its features are on one scale already"
            yield Finding(path, f"{quote(rule)} for a column that is encoded ({kind})", expected)
        if name == view.spec.model.target:
            yield Finding(path, f"{describe(rule)} for the target", "rules for features only", "key")
