"""Checks of ``evaluate`` and ``monitoring``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.messages import quote, suggest
from pipeline.model.signature import Task
from pipeline.spec.catalogue.metrics import DEFAULT_METRICS, METRICS
from pipeline.spec.checking.data import check_names
from pipeline.spec.checking.view import View
from pipeline.spec.findings import Finding, KeyPath, Place
from pipeline.spec.schema.spec import Bound


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
