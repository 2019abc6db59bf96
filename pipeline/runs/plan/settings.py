"""What each step reads of the spec: all that can change what it makes, and nothing else.

Where a step reads only a part of a rule, the part stands here. So three steps read `clean.missing` and
`clean.outliers`: `clean` drops rows and fills from their neighbours, `transform` collects what the fills will need and
clips to given bounds, and `normalize` fits the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.spec.expressions import ExpressionError, parse
from pipeline.spec.schema.spec import Missing, Outliers, Spec
from pipeline.spec.schema.transform import ENCODED, WORDED, Transformer
from pipeline.spec.shipped_programs import shipped_digests

Settings = dict[str, Any]
"""Path in the spec → the value that decides."""

EVERY = "*"
_BY_ROWS = ("drop", "interpolate", "forward_fill")
_BY_QUANTILES = ("quantile", "iqr")
_CATEGORIES = ("category", "one_hot", "ordinal", "frequency")
_FITTED = ("max_categories", "max_features", "min_rows", "size", "window", "epochs")
"""Parameters of transformers that `normalize` alone reads."""


def clean_settings(spec: Spec) -> Settings:
    """Return what `clean` reads; what the model's graph does is left out: changing it must not read the data anew."""
    read = _pick(
        "data.format data.encoding data.delimiter data.decimal data.thousands data.missing_values data.images "
        "data.columns data.extra_columns data.max_quarantined data.key clean.duplicates clean.text clean.sample"
    )
    outliers = {name: rule for name, rule in spec.clean.outliers.items() if (rule.by, rule.action) == ("range", "drop")}
    return read(spec) | {"clean.missing": _filled_by_rows(spec), "clean.outliers": _plain(outliers)}


def _filled_by_rows(spec: Spec) -> Settings:
    """Return the rules that go by rows, and the columns that such a rule for every column passes over."""
    rules = spec.clean.missing
    every = EVERY in rules and rules[EVERY].fill in _BY_ROWS
    by_rows = {name: {"fill": rule.fill, "along": rule.along} for name, rule in rules.items() if rule.fill in _BY_ROWS}
    return {name: by_rows.get(name, "left to the graph") for name in rules if every or name in by_rows}


def transform_settings(spec: Spec) -> Settings:
    """Return what `transform` reads: what decides features and sides, and which statistics will be needed."""
    scaled = {name: "robust" if how == "robust" else "not robust" for name, how in spec.normalize.items()}
    every = scaled.get(EVERY, "not robust")
    return _graph_settings(spec) | {
        "data.key": spec.data.key,
        "split": _split(spec),
        "clean.duplicates": _by_row(spec),
        "clean.missing": {name: _collected(spec, name, rule) for name, rule in spec.clean.missing.items()},
        "clean.outliers": {name: each for name, rule in spec.clean.outliers.items() if (each := _bounded(rule))},
        "normalize": {name: how for name, how in scaled.items() if how != every or (name == EVERY and how == "robust")},
        "transform": {name: _applied(rule) for name, rule in spec.transform.items()},
    }


def _split(spec: Spec) -> Settings:
    """Return the rule of the split; its bounds in time are an input, as far as they concern a partition."""
    rule = spec.split
    return {"by": rule.by, "column": rule.column} if rule.by == "time" else _plain(rule)


def _graph_settings(spec: Spec) -> Settings:
    """Return what decides the graph of the row-wise part, besides rules for missing values and outliers.

    Its columns stand in the order in which the derived ones are written.
    """
    ranges = {name: spec.data.columns[name].range for name, rule in spec.transform.items()
              if rule.kind == "cyclic" and name in spec.data.columns}  # fmt: skip
    images = {name: each.image for name, each in spec.data.columns.items() if each.type == "image"}
    return _pick("model.target data.derive features")(spec) | {
        "data.derive, in order": list(spec.data.derive),
        "data.columns, the lengths of cycles": _plain(ranges),
        "data.columns, images": _plain(images),
    }


def _by_row(spec: Spec) -> bool:
    """Tell whether what makes two rows the same is the whole row although there is a key."""
    rule = spec.clean.duplicates
    return rule != "keep" and rule.by == "row" and bool(spec.data.key)


def _collected(spec: Spec, name: str, rule: Missing) -> Settings:
    """Return what a rule for missing values has collected: the median, the most frequent value, or nothing."""
    fill: str = rule.fill
    if fill in ("mean", "keep") or (fill == "constant" and not isinstance(rule.value, str)):
        fill = "nothing"
    worded = {column for column, each in spec.transform.items() if each.kind in (*WORDED, ENCODED)}
    is_text = fill == "constant" and (name in worded or (name == EVERY and bool(worded)))
    return {"fill": fill, "indicator": rule.indicator} | ({"value": rule.value} if is_text else {})


def _bounded(rule: Outliers) -> Settings:
    """Return what a rule for outliers clips to, or has collected; nothing where `clean` does it all."""
    if rule.by == "range":
        return {"bounds": _plain(rule.bounds)} if rule.action == "clip" else {}
    return {"by": "quantiles" if rule.by in _BY_QUANTILES else rule.by}


def _applied(rule: Transformer) -> Settings:
    """Return a transformer as rows see it: that of a category leaves it as it is, whatever it is fitted to later."""
    if rule.kind in _CATEGORIES:
        return {"kind": "category"}
    return {name: value for name, value in rule.model_dump(mode="json").items() if name not in _FITTED}


def normalize_settings(spec: Spec) -> Settings:
    """Return what `normalize` reads: all that its graph is made of, from raw columns on.

    The features tell of the graph that made them only what it did to the rows that there are: two expressions that
    agree on these are not yet the same. So what decides that graph counts here as well.
    """
    fitted = {name: rule for name, rule in spec.clean.outliers.items() if (rule.by, rule.action) != ("range", "drop")}
    missing = {name: {"fill": rule.fill, "value": rule.value, "indicator": rule.indicator}
               for name, rule in spec.clean.missing.items()}  # fmt: skip
    drawn = any(rule.kind == "word2vec" for rule in spec.transform.values())
    return (
        _graph_settings(spec)
        | _pick("data.max_missing_target clean.duplicates transform normalize")(spec)
        | {"clean.missing": missing, "clean.outliers": _plain(fitted)}
        | ({"model.seed": spec.model.seed} if drawn else {})
    )


def train_settings(spec: Spec) -> Settings:
    """Return what `train` reads: the section `model`, and what callers are told of the columns that they send."""
    read = _pick(
        "model.trainer model.params model.target model.task model.class_weight model.early_stopping model.search "
        "model.seed clean.text data.missing_values"
    )
    told = {name: column.model_dump(mode="json", include={"type", "nullable", "format", "image", "missing_values"})
            for name, column in spec.data.columns.items()}  # fmt: skip
    target = spec.model.target or ""
    derived = {"data.derive": {target: spec.data.derive[target]}} if target in spec.data.derive else {}
    chosen = {"evaluate.metrics": spec.evaluate.metrics} if spec.model.search else {}
    shipped = shipped_digests(spec.model.trainer)
    return read(spec) | {"data.columns": told} | derived | chosen | ({"model.program": shipped} if shipped else {})


def evaluate_settings(spec: Spec) -> Settings:
    """Return what `evaluate` reads: how to judge, what the model card says, and what the derived slices are."""
    read = _pick(
        "evaluate model.name model.description model.owner model.trainer model.params model.target model.task "
        "model.seed monitoring.metrics monitoring.features"
    )
    needed = set(_behind(spec, spec.evaluate.slices))
    derived = {name: text for name, text in spec.data.derive.items() if name in needed}
    clipped = {name: _bounded(rule) for name, rule in spec.clean.outliers.items()
               if derived and name in needed and rule.by == "range" and rule.action == "clip"}  # fmt: skip
    return read(spec) | ({"data.derive": derived, "clean.outliers": clipped} if derived else {})


def _behind(spec: Spec, names: list[str]) -> Iterator[str]:
    """Yield columns, and all, raw and derived, that they come from."""
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        yield name
        if name in spec.data.derive:
            waiting += _names_in(spec.data.derive[name])


def _names_in(text: str) -> list[str]:
    try:
        return sorted(parse(text).names)
    except ExpressionError:  # the step will say so
        return []


def _pick(paths: str) -> Callable[[Spec], Settings]:
    def settings(spec: Spec) -> Settings:
        return {path: _value(spec, path) for path in paths.split()}

    return settings


def _value(spec: Spec, path: str) -> Any:
    value: Any = spec
    for name in path.split("."):
        value = getattr(value, name)
    return _plain(value)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
