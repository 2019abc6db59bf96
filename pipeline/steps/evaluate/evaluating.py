"""The step ``evaluate``: metrics with intervals, over all test rows and by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.messages import count, quote
from pipeline.spec.catalogue.metrics import DEFAULT_METRICS
from pipeline.spec.schema.spec import Evaluate
from pipeline.steps.evaluate.bootstrap import FEWEST_ROWS, Part, estimate, resample
from pipeline.steps.evaluate.metrics import METRIC_FUNCTIONS, Weighted
from pipeline.steps.evaluate.results import Estimate, Evaluation, Slice
from pipeline.steps.evaluate.sample import UNSEEN, FloatArray, IntArray, Prediction, Sample
from pipeline.steps.evaluate.slicing import slice_rows

FEW_ROWS = 50
_SAID_ROWS = 30
_FEW_OF_CLASS = 5

_UNDEFINED = {
    "recall": "no test row is of the positive class",
    "f1": "no test row is, or is predicted to be, of the positive class",
    "roc_auc": "the test rows are all of one class",
    "pr_auc": "the test rows are all of one class",
    "r2": "the true values do not vary",
}


def evaluate(
    truth: npt.NDArray[Any],
    prediction: Prediction,
    rules: Evaluate,
    slices: pd.DataFrame | None = None,
    seed: int = 0,
    *,
    classes: Sequence[Any] | None = None,
) -> Evaluation:
    """Judge a model on the test rows.

    Parameters
    ----------
    truth : array of shape [N]
        True values (NaN: unknown, left out), or indices of the true classes; -1 is a class that training did not see.
    prediction : Prediction of N rows
    rules : Evaluate
        The section of the spec; without metrics, those usual for the task.
    slices : DataFrame of shape [N, columns] or None
        Columns by whose values the metrics are also computed, row by row as ``truth``.
    seed : int
        Seed of the bootstrap.
    classes : sequence or None
        What the class indices stand for.

    Raises
    ------
    DataError
        If truth, prediction and slices are not of the same length, or a slice column is missing.
    """
    _check(truth, prediction, rules, slices)
    known = ~np.isnan(np.asarray(truth, dtype=np.float64))
    sample = Sample(truth[known], prediction.take(known))
    metrics = tuple(rules.metrics) or DEFAULT_METRICS[prediction.task]
    groups = {each: _group(slices, each, known) for each in rules.slices}
    parts = [Part(sample)] + [Part(sample.take(rows), rows) for group in groups.values() for rows in group.values()]
    drawn = iter(resample(parts, metrics, len(sample), rules.bootstrap, seed))
    estimates = estimate(sample, metrics, next(drawn))
    found = {
        column: {value: _slice(sample.take(rows), metrics, next(drawn)) for value, rows in group.items()}
        for column, group in groups.items()
    }
    notes = (*_notes(sample, int((~known).sum())), *_metric_notes(sample, estimates, rules), *_slice_notes(found))
    return Evaluation(
        task=prediction.task,
        rows=len(sample),
        metrics=estimates,
        slices=found,
        classes=_name_classes(sample, classes),
        confusion=_confuse(sample),
        notes=notes,
    )


def warn_of_few_rows(found: Evaluation) -> list[str]:
    """Say that there are too few test rows, or too few of a class, to believe the metrics."""
    warned = []
    if found.rows < _SAID_ROWS:
        warned.append(
            f"the model is judged on {count(found.rows, 'test row')}; expected at least {_SAID_ROWS}, since "
            "the metrics of so few are chance (split.test)"
        )
    rows = {str(name): sum(each) for name, each in zip(found.classes or (), found.confusion or (), strict=False)}
    if few := [f"{quote(name)} ({number})" for name, number in rows.items() if number < _FEW_OF_CLASS]:
        warned.append(
            f"{len(few)} of {len(rows)} classes have fewer than {_FEW_OF_CLASS} test rows: {', '.join(few[:5])}; "
            "what the metrics say of them is chance (split.test, split.stratify)"
        )
    return warned


def _check(truth: npt.NDArray[Any], prediction: Prediction, rules: Evaluate, slices: pd.DataFrame | None) -> None:
    if len(truth) != len(prediction):
        raise DataError(f"evaluate: found {len(prediction)} predictions; expected one for each of {len(truth)} rows")
    unknown = sorted(set(rules.metrics) - set(METRIC_FUNCTIONS))
    if unknown:
        raise DataError(
            f"evaluate: found {', '.join(unknown[:5])}; expected metrics among {', '.join(METRIC_FUNCTIONS)} "
            "(evaluate.metrics)"
        )
    if not rules.slices:
        return
    given = [] if slices is None else list(slices.columns)
    missing = [each for each in rules.slices if each not in given]
    if missing or slices is None:
        raise DataError(f"evaluate: column {missing[0]!r} is not in the test rows; expected it (evaluate.slices)")
    if len(slices) != len(truth):
        raise DataError(f"evaluate: found {len(slices)} rows to slice by; expected {len(truth)}")


def _group(slices: pd.DataFrame | None, column: str, known: npt.NDArray[np.bool_]) -> Mapping[str, IntArray]:
    return {} if slices is None else slice_rows(slices[column][known])


def _slice(sample: Sample, metrics: Sequence[str], drawn: FloatArray) -> Slice:
    return Slice(len(sample), estimate(sample, metrics, drawn), few=len(sample) < FEW_ROWS)


def _confuse(sample: Sample) -> tuple[tuple[int, ...], ...] | None:
    """Count rows by true and predicted class; the unseen class has a row if it occurs, never a column."""
    if sample.prediction.task == "regression":
        return None
    counts = Weighted(sample, np.ones((1, len(sample)))).confusion[0].astype(np.int64)
    shown = counts[:, :-1] if counts[-1].any() else counts[:-1, :-1]
    return tuple(tuple(int(cell) for cell in row) for row in shown)


def _name_classes(sample: Sample, classes: Sequence[Any] | None) -> tuple[Any, ...] | None:
    if sample.prediction.task == "regression":
        return None
    return tuple(range(sample.classes)) if classes is None else tuple(classes)


def _notes(sample: Sample, unknown: int) -> list[str]:
    """Say what about the rows themselves a reader must know."""
    unfinite = int((~np.isfinite(sample.prediction.outputs)).sum())
    counts = {
        "test rows without a true value, left out: {}": unknown,
        "test rows of a class that training did not see, counted as wrong: {}": _unseen(sample),
        "predictions that are not finite, from which nothing can be computed: {}": unfinite,
    }
    few = [f"test rows, too few to judge by: {len(sample)}"] if len(sample) < FEW_ROWS else []
    return few + [text.format(f"{count:,}") for text, count in counts.items() if count]


def _unseen(sample: Sample) -> int:
    return int((sample.truth == UNSEEN).sum()) if sample.prediction.task == "classification" else 0


def _metric_notes(sample: Sample, estimates: Mapping[str, Estimate], rules: Evaluate) -> list[str]:
    """Say why a value or an interval is missing or misleading."""
    notes = [f"{name} is undefined: {_reason(name, sample)}" for name, each in estimates.items() if each.value is None]
    bare = [name for name, each in estimates.items() if each.value is not None and each.low is None]
    if rules.bootstrap and bare and len(sample) < FEWEST_ROWS:
        notes.append(f"no metric has an interval: of fewer than {FEWEST_ROWS} rows, resamples say nothing of others")
    elif rules.bootstrap:
        notes += [f"{name} has no interval: it is undefined in too many resamples" for name in bare]
    return notes + [text for name, say in _CAUTIONS.items() if name in estimates for text in say(sample)]


def _reason(metric: str, sample: Sample) -> str:
    if not len(sample):
        return "there are no test rows"
    if metric in _UNDEFINED and np.isfinite(sample.prediction.outputs).all():
        return _UNDEFINED[metric]
    return "the predictions do not allow it (not finite, or no probabilities)"


def _caution_precision(sample: Sample) -> list[str]:
    silent = len(sample) > 0 and sample.binary and not (sample.prediction.outputs == 1).any()
    return ["precision is 0 because no row is predicted to be of the positive class"] if silent else []


def _caution_roc_auc(sample: Sample) -> list[str]:
    occurring = set(np.unique(sample.truth).tolist()) - {UNSEEN}
    absent = 0 if sample.binary else sample.classes - len(occurring)
    return [f"classes that no test row is of, left out of the averaged areas: {absent}"] if absent and occurring else []


def _caution_mape(sample: Sample) -> list[str]:
    zeros = int((sample.truth == 0).sum())
    return [f"mape is inflated by rows with a true value of 0: {zeros:,}"] if zeros else []


_CAUTIONS: Mapping[str, Callable[[Sample], list[str]]] = {
    "precision": _caution_precision,
    "roc_auc": _caution_roc_auc,
    "mape": _caution_mape,
}


def _slice_notes(slices: Mapping[str, Mapping[str, Slice]]) -> list[str]:
    few = Counter(column for column, values in slices.items() for each in values.values() if each.few)
    return [
        f"slices by {column} with fewer than {FEW_ROWS} rows, too few to judge by: {count}"
        for column, count in few.items()
    ]
