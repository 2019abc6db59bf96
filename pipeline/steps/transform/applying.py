"""Running the compiled transformation over a frame, and measuring its training rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from pipeline.errors import DataError
from pipeline.model.columns import Side
from pipeline.model.sentences import Sentences
from pipeline.spec.image_columns import rules_of
from pipeline.spec.schema.spec import Spec
from pipeline.steps.features import TARGET, Transform, needs_of, source_name
from pipeline.steps.quantiles import Doubles
from pipeline.steps.raw_columns import Known, RawColumns, measure_raw
from pipeline.steps.statistics import Statistics, measure_rows
from pipeline.steps.transform.rows import Target

BATCH_ROWS = 8_192  # what a graph holds between its nodes stays in the processor's cache, and small

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Transformed:
    """What became of some rows.

    Attributes
    ----------
    frame : DataFrame
        A row for each row that is kept, in order: the features (float64, NaN for missing), the labels (``str``), the
        words of texts (``str``) and the target, named `pipeline.steps.features.TARGET` (float64 or ``str``).
    kept : bool[n]
        Which of the given rows are in ``frame``.
    dropped : mapping of str to int
        Column → rows that were dropped since it is missing there: the target, and derived columns with `drop`.
    statistics : Statistics
        Those of the training rows in ``frame``.
    """

    frame: pd.DataFrame
    kept: Mask
    dropped: Mapping[str, int]
    statistics: Statistics


Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def transform(
    rows: pd.DataFrame,
    sides: NDArray[np.int8],
    spec: Spec,
    compiled: Transform,
    target: Target,
    encode: Encode | None = None,
) -> Transformed:
    """Compute the features, labels and target of cleaned rows.

    Parameters
    ----------
    rows : DataFrame
        A canonical frame.
    sides : int8[n]
        What each row is used for (`pipeline.model.columns.Side`).
    encode : callable, optional
        Computes the vectors of texts; without it, the frame lacks those of sentences.

    Raises
    ------
    DataError
        A column is missing or of another kind, or has too many different values to count.
    """
    _check(rows, compiled, target)
    measured, derived = _run_bulk(rows, compiled)
    named = {name: derived[name] if name in derived else rows[name] for name in (each.name for each in compiled.labels)}
    labels = pd.DataFrame(named | _words(rows, compiled), index=rows.index)
    goal = compute_target(rows, target)
    kept, dropped = _keep(measured, labels, goal, compiled, target)
    if not kept.all():
        measured, labels, goal, sides = measured[kept], labels[kept], goal[kept], sides[kept]
    training = sides == Side.TRAIN
    statistics = _measure(measured, labels, training, spec, compiled)
    statistics = replace(statistics, raw=_measure_raw(rows, kept, training, measured, statistics, spec, compiled))
    frame = _frame(measured, labels, goal, compiled)
    if encode is not None:
        frame = pd.concat([frame, *(_vectors(rows[kept], each, encode) for each in compiled.sentences)], axis=1)
    return Transformed(frame, kept, dropped, statistics)


def _vectors(rows: pd.DataFrame, sentences: Sentences, encode: Encode) -> pd.DataFrame:
    texts = [text or sentences.fill for text in rows[sentences.column].fillna("").tolist()]
    return pd.DataFrame(encode(texts), columns=list(sentences.columns))


def number_matrix(rows: pd.DataFrame, names: Sequence[str]) -> Doubles:
    """Convert columns to float64[n, K]: times as seconds since 1970, missing values as NaN."""
    kinds = {name: dtype.kind for name, dtype in rows.dtypes.items()}
    times = {name for name in names if kinds[name] == "M"}
    if not times:
        return np.ascontiguousarray(rows[list(names)].to_numpy(dtype=np.float64))
    matrix = np.empty((len(rows), len(names)))
    for i, name in enumerate(names):
        column = rows[name]
        matrix[:, i] = _seconds(column) if name in times else column.to_numpy(dtype=np.float64)
    return matrix


def _seconds(column: pd.Series[Any]) -> Doubles:
    moments = column.to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 1e6)


def text_matrix(rows: pd.DataFrame, names: Sequence[str]) -> NDArray[np.object_]:
    """Convert columns to object[n, S] of str, "" for missing."""
    matrix = np.empty((len(rows), len(names)), dtype=object)
    for i, name in enumerate(names):
        matrix[:, i] = rows[name].fillna("").to_numpy(dtype=object)
    return matrix


def _check(rows: pd.DataFrame, compiled: Transform, target: Target) -> None:
    dtypes, all_texts = dict(rows.dtypes.items()), {*compiled.texts, *target.texts}
    for name in dict.fromkeys((*compiled.numbers, *target.numbers, *compiled.texts, *target.texts)):
        if name not in dtypes:
            raise DataError(f"transform: column {name!r} is missing; expected it among the data (data.columns.{name})")
        is_text = name in all_texts
        if (dtypes[name].kind in "fM") == is_text:
            expected = "text" if is_text else "numbers or times"
            raise DataError(f"transform: {name!r} has {dtypes[name]} values; expected {expected} (data.columns)")


def _batches(
    session: InferenceSession, rows: pd.DataFrame, numbers: Sequence[str], texts: Sequence[str]
) -> Iterator[tuple[slice, dict[str, Any]]]:
    """Run a model over a frame, so many rows at a time that its inputs stay small."""
    wanted = {value.name for value in session.get_inputs()}
    names = [value.name for value in session.get_outputs()]
    for start in range(0, max(len(rows), 1), BATCH_ROWS):
        part = rows.iloc[start : start + BATCH_ROWS]
        given: dict[str, Any] = {}
        if "numbers" in wanted:
            given["numbers"] = number_matrix(part, numbers)
        if "texts" in wanted:
            given["texts"] = text_matrix(part, texts)
        yield slice(start, start + len(part)), dict(zip(names, session.run(names, given), strict=True))


def _run_bulk(rows: pd.DataFrame, compiled: Transform) -> tuple[Doubles, dict[str, pd.Series[Any]]]:
    measured = np.empty((len(rows), len(compiled.features) + len(compiled.sources)))
    labels = np.empty((len(rows), len(compiled.derived_labels)), dtype=object)
    if compiled.bulk_session is not None:
        for place, outputs in _batches(compiled.bulk_session, rows, compiled.numbers, compiled.bulk_texts):
            for name, values in outputs.items():
                (measured if name == "measured" else labels)[place] = values
    return measured, {name: _text(labels[:, i], rows) for i, name in enumerate(compiled.derived_labels)}


def _words(rows: pd.DataFrame, compiled: Transform) -> dict[str, pd.Series[Any]]:
    """Find the words of texts once, here, however often something is fitted to them."""
    rules = [each.words for each in compiled.words]
    found = {rule.column: [rule.of(text) for text in rows[rule.column].fillna("").tolist()] for rule in rules}
    return {name: pd.Series(words, index=rows.index, dtype="str") for name, words in found.items()}


def _text(values: NDArray[np.object_], rows: pd.DataFrame) -> pd.Series[Any]:
    series = pd.Series(values, index=rows.index, dtype="str")
    return series.mask(series == "")


def compute_target(rows: pd.DataFrame, target: Target) -> pd.Series[Any]:
    """Compute a target, or any other derived column compiled as one, for cleaned rows."""
    if target.session is None:
        values = rows[target.name]
        return values if target.is_text else values.mask(np.isinf(values))
    result = np.empty((len(rows), 1), dtype=object if target.is_text else np.float64)
    for place, outputs in _batches(target.session, rows, target.numbers, target.texts):
        result[place] = outputs["target"]
    return _text(result[:, 0], rows) if target.is_text else pd.Series(result[:, 0], index=rows.index)


def _keep(
    measured: Doubles, labels: pd.DataFrame, goal: pd.Series[Any], compiled: Transform, target: Target
) -> tuple[Mask, dict[str, int]]:
    kept = goal.notna().to_numpy()
    dropped = {target.name: int((~kept).sum())}
    names = [*(each.name for each in compiled.features), *map(source_name, compiled.sources)]
    for name in compiled.required:
        if name in labels:
            present = labels[name].notna().to_numpy()
        else:
            entry = source_name(name) if name in compiled.sources else name
            present = ~np.isnan(measured[:, names.index(entry)])
        dropped[name] = int((kept & ~present).sum())
        kept = kept & present
    return kept, {name: count for name, count in dropped.items() if count}


def _frame(measured: Doubles, labels: pd.DataFrame, goal: pd.Series[Any], compiled: Transform) -> pd.DataFrame:
    names = [each.name for each in compiled.features]
    numbers = pd.DataFrame(measured[:, : len(names)], columns=names, index=labels.index, copy=False)
    return pd.concat([numbers, labels, goal.rename(TARGET)], axis=1).reset_index(drop=True)


def _measure_raw(
    rows: pd.DataFrame,
    kept: Mask,
    training: Mask,
    measured: Doubles,
    statistics: Statistics,
    spec: Spec,
    compiled: Transform,
) -> RawColumns:
    """Measure the raw columns of training rows; those that are a feature unchanged have been summarized already."""
    mask = kept.copy()
    mask[kept] = training
    columns = list(dict.fromkeys((*compiled.numbers, *compiled.texts)))
    mine = rows[columns] if mask.all() else rows.loc[mask, columns]
    values = measured if training.all() else measured[training]
    ranked = {
        name: statistics.quantiles[entry]
        for name in compiled.numbers
        for entry in (name, source_name(name))
        if entry in statistics.quantiles
        and mine[name].dtype.kind == "f"
        and np.array_equal(values[:, statistics.place(entry)], mine[name].to_numpy(), equal_nan=True)
    }
    counted: Any = {
        name: statistics.counts[name]
        for name in compiled.texts
        if name in statistics.counts and name not in compiled.derived_labels
    }
    worded = {each.name for each in compiled.words} | {each.column for each in compiled.sentences}
    return measure_raw(mine, compiled.numbers, compiled.texts, rules_of(spec.data), worded, Known(ranked, counted))


def _measure(values: Doubles, labels: pd.DataFrame, training: Mask, spec: Spec, compiled: Transform) -> Statistics:
    if not training.all():
        values, labels = values[training], labels[training]
    names = [*(each.name for each in compiled.features), *map(source_name, compiled.sources)]
    return measure_rows(values, labels, tuple(names), needs_of(spec, compiled))
