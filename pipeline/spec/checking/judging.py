"""Checks of what is held back and how a model is judged: ``split``, ``evaluate``, ``monitoring``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.messages import article, quote, suggest
from pipeline.model.task import Task
from pipeline.serving.observing.bounds import BUCKETS_S
from pipeline.spec.catalogue.metrics import DEFAULT_METRICS, METRICS
from pipeline.spec.checking.data import check_names
from pipeline.spec.checking.view import View
from pipeline.spec.findings import Finding, KeyPath, Place
from pipeline.spec.schema.spec import Bound, Split

_LESS_THAN_ALL = "less than 1 together, so that rows are left for training"


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
    for side in ("test", "validation"):
        if split.extent(side) and getattr(split, f"{side}_from") is not None:
            yield Finding(("split", side), f"it with {side}_from", "one of the two", "key")
    if not split.extent("test") and split.test_from is None:
        expected = "the newest rows that judge, such as 'test: 2 months' or 'test: 20%', or a fixed time, test_from"
        yield Finding(("split",), "no test rows with by: time", expected, "key")
    elif split.validation_from is not None and split.test_from is None:
        expected = "one that moves as test does, such as 'validation: 1 month'"
        yield Finding(("split", "validation_from"), "a fixed time", expected, "key")
    elif split.validation_from is not None and split.test_from and split.validation_from >= split.test_from:
        yield Finding(
            ("split", "validation_from"), f"{split.validation_from}", f"a time before test_from, {split.test_from}"
        )
    if (found := _sum_shares(split.extent("test"), split.extent("validation"))) >= 1:
        yield Finding(("split",), f"shares of {found:g} together", _LESS_THAN_ALL, "key")
    type_ = view.type_of(split.column or "")
    if type_ is not None and type_ != "datetime":
        yield Finding(("split", "column"), f"{quote(str(split.column))}, {article(type_)} column", "a datetime column")


def _sum_shares(*extents: float | str) -> float:
    return sum(each for each in extents if not isinstance(each, str))


def _check_shares(split: Split) -> Iterator[Finding]:
    spans = [side for side in ("test", "validation") if isinstance(getattr(split, side), str)]
    for side in spans:
        found = f"the span {quote(getattr(split, side))} with by: {split.by}"
        yield Finding(("split", side), found, "a share such as 0.2; spans go with by: time")
    if not spans and _sum_shares(split.test, split.validation) >= 1:
        found = f"shares of {split.test:g} for test and {split.validation:g} for validation"
        yield Finding(("split",), found, _LESS_THAN_ALL, "key")
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
    by_time = split.by == "time"
    has_rows = bool(split.validation_from or split.extent("validation")) if by_time else split.validation != 0
    for key in ("early_stopping", "search"):
        if getattr(model, key) is not None and not has_rows:
            mend = "split.validation, such as 1 month" if by_time else "split.validation above 0"
            yield Finding(("model", key), "no validation rows to choose by", mend, "key")


def computed_metrics(view: View) -> Sequence[str]:
    """List the metrics that evaluation will compute; none if the task is unknown."""
    task = view.spec.model.task
    return view.spec.evaluate.metrics or (DEFAULT_METRICS[task] if task else ())


def metric_finding(path: KeyPath, name: str, task: Task | None) -> Iterator[Finding]:
    """Report a metric that does not exist, or makes no sense for the task (any, if that is unknown)."""
    suited = [metric for metric, info in METRICS.items() if task is None or task in info.tasks]
    at: Place = "key" if path[-1] == name else "value"
    if name not in METRICS:
        expected = suggest(name, METRICS, f"one of {', '.join(suited)}")
        yield Finding(path, f"the unknown metric {quote(name)}", expected, at)
    elif name not in suited:
        expected = f"one of {', '.join(suited)}"
        yield Finding(path, f"{quote(name)}, which is no metric for {task}", expected, at)


def check_metrics(view: View) -> Iterator[Finding]:
    """Check that the metrics suit the task."""
    metrics, task = view.spec.evaluate.metrics, view.spec.model.task
    target = view.spec.data.columns.get(view.spec.model.target or "")
    n_classes = len(target.allowed or ()) if target else 0
    for i, name in enumerate(metrics):
        path = ("evaluate", "metrics", i)
        yield from metric_finding(path, name, task)
        if name in metrics[:i]:
            yield Finding(path, f"{quote(name)} a second time", "each metric once")
        if name in METRICS and METRICS[name].binary_only and n_classes > 2:
            yield Finding(path, f"{quote(name)} with {n_classes} classes", "it only with two")


def check_gate(view: View) -> Iterator[Finding]:
    """Check that the gate asks for what is computed, and can be passed."""
    computed, task = computed_metrics(view), view.spec.model.task
    for name, bound in view.spec.evaluate.gate.items():
        path = ("evaluate", "gate", name)
        wrong = list(metric_finding(path, name, task))
        yield from wrong
        if not wrong and task and name not in computed:
            expected = f"one of evaluate.metrics ({', '.join(computed)})"
            yield Finding(path, f"a bound on {quote(name)}, which isn't computed", expected, "key")
        yield from _check_bound(path, bound)


def _check_bound(path: KeyPath, bound: Bound) -> Iterator[Finding]:
    if all(getattr(bound, key) is None for key in Bound.model_fields):
        yield Finding(path, "no bound", f"at least one of {', '.join(Bound.model_fields)}")
    if bound.at_least is not None and bound.at_most is not None and bound.at_least > bound.at_most:
        found = f"at_least {bound.at_least:g} with at_most {bound.at_most:g}"
        yield Finding(path, found, "at_least up to at_most, so that a model can pass")


def check_slices(view: View) -> Iterator[Finding]:
    """Check the columns by whose values metrics are computed."""
    yield from check_names(view, ("evaluate", "slices"), view.spec.evaluate.slices)


def check_monitoring(view: View) -> Iterator[Finding]:
    """Check what is watched; a task may be left open here."""
    known = (*METRICS, "loss")
    for i, name in enumerate(view.spec.monitoring.metrics):
        if name not in known:
            expected = suggest(name, known, f"one of {', '.join(known)}")
            yield Finding(("monitoring", "metrics", i), f"the unknown metric {quote(name)}", expected)
    within = view.spec.monitoring.latency.within_s
    if within not in BUCKETS_S:
        expected = f"one of {', '.join(f'{each:g}' for each in BUCKETS_S)}, which servers count by"
        yield Finding(("monitoring", "latency", "within_s"), f"{within:g}", expected)
