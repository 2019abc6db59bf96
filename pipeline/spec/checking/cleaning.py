"""Checks of ``clean``: rules that suit their columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from pipeline.messages import article, closest, describe, examples, quote
from pipeline.spec.checking.data import VALUES, fits
from pipeline.spec.checking.view import EVERY, NUMERIC, View
from pipeline.spec.findings import Finding, KeyPath
from pipeline.spec.schema.spec import Missing, Outliers

_FILLS = ("mean", "median", "mode", "interpolate", "forward_fill", "drop", "keep")
_FITTED_FILLS = frozenset({"mean", "median", "mode", "constant"})
_FILLS_OF_ROWS = frozenset({"drop", "interpolate", "forward_fill"})
_FILLS_OF_NUMBERS = frozenset({"mean", "median", "interpolate"})


def check_duplicates(view: View) -> Iterator[Finding]:
    """Check that there is a key to tell duplicates by."""
    rule = view.spec.clean.duplicates
    if rule != "keep" and rule.by == "key" and not view.spec.data.key:
        yield Finding(("clean", "duplicates", "by"), "'key'", "'row', or the columns of the key in data.key")


def check_missing(view: View) -> Iterator[Finding]:
    """Check what replaces missing values."""
    for name, rule in view.spec.clean.missing.items():
        path: KeyPath = ("clean", "missing", name)
        yield from _check_missing_keys(view, path, rule)
        if name == EVERY:
            yield from _check_constant_for_all(view, path, rule)
            continue
        yield from view.missing_column(path, name)
        yield from _check_fill(view, path, name, rule)
    yield from _check_kept(view)


def _check_missing_keys(view: View, path: KeyPath, rule: Missing) -> Iterator[Finding]:
    if rule.fill == "constant" and rule.value is None:
        yield Finding(path, "no value for the constant", f"a value, or one of {', '.join(_FILLS)}")
    if rule.fill != "constant" and rule.value is not None:
        yield Finding((*path, "value"), describe(rule.value), f"no value with fill: {rule.fill}, only with constant")
    if rule.along is None:
        return
    if rule.fill != "interpolate":
        yield Finding((*path, "along"), quote(rule.along), f"no column with fill: {rule.fill}, only with interpolate")
    yield from view.missing_column((*path, "along"), rule.along, derived=False)
    if view.type_of(rule.along) in {"str", "bool"}:
        found = f"{quote(rule.along)}, {article(view.type_of(rule.along))} column"
        yield Finding((*path, "along"), found, "a column of times or numbers")


def _check_constant_for_all(view: View, path: KeyPath, rule: Missing) -> Iterator[Finding]:
    if rule.fill != "constant" or rule.value is None:
        return
    ruled = view.spec.clean.missing
    unfit = [
        name
        for name in view.features()
        if name not in ruled and (type_ := view.type_of(name)) and not fits(rule.value, type_)
    ]
    if unfit:
        expected = "one that suits every column, or rules of their own for these"
        yield Finding(path, f"{describe(rule.value)} for {examples(unfit)}, whose type is another", expected)


def _check_fill(view: View, path: KeyPath, name: str, rule: Missing) -> Iterator[Finding]:
    type_ = view.type_of(name)
    if rule.fill == "constant" and rule.value is not None:
        yield from _check_constant(view, path, name, rule)
    if rule.fill in _FILLS_OF_NUMBERS and type_ == "str":
        yield Finding(path, f"{quote(rule.fill)} for a text", "'mode', 'forward_fill', 'drop', 'keep' or a constant")
    if name in view.target_sources and rule.fill in _FITTED_FILLS:
        role = "the target" if name == view.spec.model.target else "a column that the target is derived from"
        yield Finding(path, f"a filled value for {role}", "'drop', since what is to be learnt can't be made up")
    elif name in view.spec.data.derive and rule.fill in _FILLS_OF_ROWS:
        expected = f"that for the columns it is derived from ({examples(_raw_sources(view, name))})"
        yield Finding(path, f"{quote(rule.fill)} for a derived column", expected)


def _raw_sources(view: View, name: str) -> list[str]:
    return sorted(view.sources(name) - set(view.spec.data.derive))


def _check_constant(view: View, path: KeyPath, name: str, rule: Missing) -> Iterator[Finding]:
    type_, value = view.type_of(name), rule.value
    where = path if "fill" not in rule.model_fields_set or _is_short(rule) else (*path, "value")
    meant = closest(value, _FILLS)
    if type_ is not None and value is not None and not fits(value, type_):
        hint = f"; did you mean {quote(meant)}?" if meant else ""
        yield Finding(where, f"{describe(value)} for {article(type_)} column", f"{VALUES[type_]}, or a rule{hint}")
    elif meant and value not in _FILLS and isinstance(value, str) and _is_near(value, meant):
        yield Finding(where, describe(value), f"{quote(meant)}, or {{fill: constant, value: …}} with a text unlike it")


def _is_short(rule: Missing) -> bool:
    return rule.model_fields_set == {"fill", "value"}


def _is_near(value: str, name: str) -> bool:
    """Whether a text is a fill with a letter or two wrong, rather than a word of its own such as `model` or `more`."""
    return len(value) == len(name) and sorted(value.lower()) == sorted(name)


def _check_kept(view: View) -> Iterator[Finding]:
    """Check that the trainer can read missing values, where they are kept."""
    info = view.trainer
    if info is None or info.handles_missing:
        return
    features = view.features()
    for name, rule in view.spec.clean.missing.items():
        if rule.fill == "keep" and (name == EVERY or not view.declared or name in features):
            found = f"'keep' with the trainer {view.spec.model.trainer}, which reads no missing values"
            yield Finding(
                ("clean", "missing", name), found, "another rule, or a trainer such as hist_gradient_boosting"
            )


def check_outliers(view: View) -> Iterator[Finding]:
    """Check the rules for values far from the others."""
    for name, rule in view.spec.clean.outliers.items():
        path = ("clean", "outliers", name)
        yield from view.missing_column(path, name)
        yield from _OUTLIER_CHECKS[rule.by](path, rule)
        type_ = view.type_of(name)
        if type_ is not None and type_ not in NUMERIC:
            yield Finding(path, f"a rule for {article(type_)} column", "rules only for float and int", "key")
        yield from _check_outlier_place(view, path, name, rule)


def _check_outlier_place(view: View, path: KeyPath, name: str, rule: Outliers) -> Iterator[Finding]:
    target, transformer = view.spec.model.target, view.spec.transform.get(name)
    dropped_early = rule.by == "range" and rule.action == "drop"
    if dropped_early and name in view.spec.data.derive:
        expected = f"that for the columns it is derived from ({examples(_raw_sources(view, name))})"
        yield Finding(path, "rows dropped by the range of a derived column", expected, "key")
    elif not dropped_early and name == target:
        yield Finding(
            path, f"{quote(rule.by)} with {quote(rule.action)} for the target", "{by: range, action: drop}", "key"
        )
    elif rule.by != "range" and transformer is not None and transformer.kind != "none":
        found = f"bounds by {quote(rule.by)} for a column that is transformed ({transformer.kind})"
        yield Finding(path, found, "bounds by 'range', or no transform for the column", "key")


def _check_bounds(path: KeyPath, rule: Outliers) -> Iterator[Finding]:
    if rule.bounds is None:
        yield Finding(path, f"no bounds for {quote(rule.by)}", "bounds, such as [0, 1]", "key")
    elif any(low >= high for low, high in pairwise(rule.bounds)):
        yield Finding((*path, "bounds"), f"[{rule.bounds[0]:g}, {rule.bounds[1]:g}]", "the smaller bound first")
    if rule.factor is not None:
        yield Finding(
            (*path, "factor"), f"{rule.factor:g}", f"no factor with {quote(rule.by)}; iqr and zscore take one"
        )


def _check_shares(path: KeyPath, rule: Outliers) -> Iterator[Finding]:
    yield from _check_bounds(path, rule)
    if rule.bounds is not None and not 0 <= min(rule.bounds) <= max(rule.bounds) <= 1:
        yield Finding((*path, "bounds"), f"[{rule.bounds[0]:g}, {rule.bounds[1]:g}]", "shares from 0 to 1")


def _check_factor(path: KeyPath, rule: Outliers) -> Iterator[Finding]:
    if rule.bounds is not None:
        expected = f"no bounds with {quote(rule.by)}, but a factor"
        yield Finding((*path, "bounds"), f"[{rule.bounds[0]:g}, {rule.bounds[1]:g}]", expected)


_OUTLIER_CHECKS: Mapping[str, Callable[[KeyPath, Outliers], Iterator[Finding]]] = {
    "range": _check_bounds,
    "quantile": _check_shares,
    "iqr": _check_factor,
    "zscore": _check_factor,
}


def check_text(view: View) -> Iterator[Finding]:
    """Check that only texts of the data are made uniform."""
    for name in view.spec.clean.text:
        path = ("clean", "text", name)
        if name == EVERY:
            continue
        yield from view.missing_column(path, name, derived=False)
        type_ = view.type_of(name)
        if name in view.spec.data.columns and type_ != "str":
            yield Finding(path, f"a rule for {article(type_)} column", "rules only for str", "key")
