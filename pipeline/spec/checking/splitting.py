"""Checks of ``split``, and that there are rows for what needs them."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.messages import article, quote
from pipeline.spec.checking.view import View
from pipeline.spec.findings import Finding
from pipeline.spec.schema.spec import Split


def check_split(view: View) -> Iterator[Finding]:
    """Check that the rows can be told apart, and that each side has some."""
    split = view.spec.split
    if split.by == "time":
        yield from _check_time(view, split)
    else:
        yield from _check_shares(split)
    if split.column is not None:
        yield from view.missing_column(("split", "column"), split.column, derived=False)
    elif split.by != "key":
        yield Finding(("split",), f"no column to split by {split.by}", "split.column", "key")
    if split.by == "key" and split.column is not None:
        found = f"the column {quote(split.column)} with by: key"
        yield Finding(("split", "column"), found, "by: group or by: time, or the column in data.key")
    yield from _check_stratify(view, split)


def _check_time(view: View, split: Split) -> Iterator[Finding]:
    for key in ("test", "validation"):
        if key in split.model_fields_set:
            found = f"a share ({getattr(split, key):g}) with by: time"
            yield Finding(("split", key), found, f"the time from which rows count, split.{key}_from")
    if split.test_from is None:
        yield Finding(("split",), "no test_from with by: time", "the time from which rows are test rows", "key")
    elif split.validation_from is not None and split.validation_from >= split.test_from:
        yield Finding(
            ("split", "validation_from"), f"{split.validation_from}", f"a time before test_from, {split.test_from}"
        )
    type_ = view.type_of(split.column or "")
    if type_ is not None and type_ != "datetime":
        yield Finding(("split", "column"), f"{quote(str(split.column))}, {article(type_)} column", "a datetime column")


def _check_shares(split: Split) -> Iterator[Finding]:
    if split.test + split.validation >= 1:
        found = f"shares of {split.test:g} for test and {split.validation:g} for validation"
        yield Finding(("split",), found, "less than 1 together, so that rows are left for training", "key")
    if split.test == 0:
        yield Finding(("split", "test"), "0", "more than 0: a model is judged on test rows")
    for key in ("validation_from", "test_from"):
        if getattr(split, key) is not None:
            yield Finding(("split", key), f"a time with by: {split.by}", "it only with by: time", "key")


def _check_stratify(view: View, split: Split) -> Iterator[Finding]:
    if split.stratify is None:
        return
    path = ("split", "stratify")
    yield from view.missing_column(path, split.stratify)
    if split.by != "key":
        yield Finding(path, f"a column with by: {split.by}", "it only with by: key", "key")
    if view.type_of(split.stratify) in {"float", "datetime"} and split.stratify in view.spec.data.columns:
        found = f"{quote(split.stratify)}, {article(view.type_of(split.stratify))} column"
        yield Finding(path, found, "a column of few values (str, bool or int)")


def check_validation_rows(view: View) -> Iterator[Finding]:
    """Check that early stopping and search have rows to choose by."""
    split, model = view.spec.split, view.spec.model
    has_rows = split.validation_from is not None if split.by == "time" else split.validation > 0
    for key in ("early_stopping", "search"):
        if getattr(model, key) is not None and not has_rows:
            mend = "split.validation_from" if split.by == "time" else "split.validation above 0"
            yield Finding(("model", key), "no validation rows to choose by", mend, "key")
