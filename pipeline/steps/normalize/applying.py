"""Running the compiled graph over transformed frames, and finding rows that several of them hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnx import ModelProto
from onnxruntime import InferenceSession

from pipeline.errors import DataError
from pipeline.model.graphs import compose, open_session
from pipeline.model.words import portions
from pipeline.steps.features import Transform
from pipeline.steps.normalize.compiling import Part, compile_normalize
from pipeline.steps.normalize.preprocessing import Preprocessing

BATCH_ROWS = 8_192  # what a graph holds between its nodes stays in the processor's cache, and small

Matrix = NDArray[np.float32]


def compile_preprocess(transform: Transform, preprocessing: Preprocessing) -> ModelProto:
    """Join the row-wise and the fitted graph: from ``numbers`` and ``texts`` to ``matrix`` float32[N, P].

    Raises
    ------
    DataError
        No column of the matrix is left.
    """
    second = compile_normalize(preprocessing)
    if second is None:
        raise DataError(_NOTHING)
    return compose(transform.model, second)


_NOTHING = "normalize: no feature has a value in the training rows; expected at least one column (features.select)"


def normalize(parts: Iterable[pd.DataFrame], preprocessing: Preprocessing) -> Iterator[Matrix]:
    """Make the matrix of transformed frames, part by part, by running the graph that serving runs.

    Texts are looked up once for each different one: the graph sees a table of them, whose rows are then repeated.

    Parameters
    ----------
    parts : iterable of DataFrame
        Frames as `pipeline.steps.transform.transform` gives them; each is asked for when its rows are.

    Yields
    ------
    float32[n, P]
        The rows of a part; columns are ``preprocessing.names``.

    Raises
    ------
    DataError
        A column is missing, or no column of the matrix is left.
    """
    if not preprocessing.names:
        raise DataError(_NOTHING)
    left = _open(preprocessing, "features") if preprocessing.features else None
    right = _open(preprocessing, "labels") if preprocessing.labels else None
    third = _open(preprocessing, "words") if preprocessing.words else None
    last = len(preprocessing.names) - len(preprocessing.vectors)
    end = last - sum(rule.width for rule in preprocessing.words)
    width = end - _text_width(preprocessing)
    for part in parts:
        _check(part, preprocessing)
        rows = np.empty((len(part), len(preprocessing.names)), dtype=np.float32)
        if left is not None:
            _fill_numbers(rows[:, :width], part, preprocessing, left)
        if right is not None:
            _fill_texts(rows[:, width:end], part, preprocessing, right)
        if third is not None:
            _fill_words(rows[:, end:last], part, preprocessing, third)
        if preprocessing.vectors:  # the graph gives them on as they are
            rows[:, last:] = part[list(preprocessing.vectors)].to_numpy(dtype=np.float32)
        yield rows


def _open(preprocessing: Preprocessing, part: Part) -> InferenceSession | None:
    model = compile_normalize(preprocessing, [part])
    return open_session(model) if model is not None else None


def _check(part: pd.DataFrame, preprocessing: Preprocessing) -> None:
    worded = (rule.name for rule in preprocessing.words)
    missing = [
        name
        for name in (*preprocessing.features, *preprocessing.labels, *worded, *preprocessing.vectors)
        if name not in part
    ]
    if missing:
        raise DataError(f"normalize: {missing[:5]} is missing; expected the columns that were fitted (features)")


def _text_width(preprocessing: Preprocessing) -> int:
    return sum(len(rule.columns) for rule in preprocessing.categories if rule.text)


def _fill_numbers(rows: Matrix, part: pd.DataFrame, preprocessing: Preprocessing, session: InferenceSession) -> None:
    values = part[list(preprocessing.features)].to_numpy(dtype=np.float64)
    for start in range(0, len(part), BATCH_ROWS):
        batch = np.ascontiguousarray(values[start : start + BATCH_ROWS])
        rows[start : start + BATCH_ROWS] = session.run(["matrix"], {"features": batch})[0]


def _fill_texts(rows: Matrix, part: pd.DataFrame, preprocessing: Preprocessing, session: InferenceSession) -> None:
    codes: dict[str, Any] = {}
    different: dict[str, Any] = {}
    for name in preprocessing.labels:
        codes[name], values = pd.factorize(part[name].fillna(""))
        different[name] = values.to_numpy(dtype=object)
    table = np.full((max(map(len, different.values())), len(different)), "", dtype=object)
    for i, values in enumerate(different.values()):
        table[: len(values), i] = values
    coded = _run_texts(table, session)
    for name, places in _text_columns(preprocessing).items():
        if places:
            columns = slice(places[0], places[-1] + 1)
            rows[:, columns] = np.ascontiguousarray(coded[:, columns]).take(codes[name], axis=0)


def _fill_words(rows: Matrix, part: pd.DataFrame, preprocessing: Preprocessing, session: InferenceSession) -> None:
    words = np.empty((len(part), len(preprocessing.words)), dtype=object)
    for place, rule in enumerate(preprocessing.words):
        words[:, place] = part[rule.name].to_numpy(dtype=object)
    for portion in portions(words):
        rows[portion] = session.run(["matrix"], {"words": words[portion]})[0]


def _run_texts(table: NDArray[np.object_], session: InferenceSession) -> Matrix:
    batches = (table[start : start + BATCH_ROWS] for start in range(0, max(len(table), 1), BATCH_ROWS))
    return np.concatenate([session.run(["matrix"], {"labels": batch})[0] for batch in batches])


def _text_columns(preprocessing: Preprocessing) -> Mapping[str, range]:
    """Find each text's columns in the right part of the matrix."""
    _, _, hot, coded = preprocessing.split_categories()
    places, start = {}, 0
    for rule in (*hot, *coded):
        places[rule.name] = range(start, start + len(rule.columns))
        start += len(rule.columns)
    return places


def repeated_rows(
    hashes: Sequence[NDArray[np.uint64]], keep: Literal["first", "last", "none"]
) -> list[NDArray[np.bool_]]:
    """Find rows that occur more than once, within or across partitions.

    Parameters
    ----------
    hashes : sequence of uint64[n]
        Of each partition's rows, in the order of the partitions.
    keep : {"first", "last", "none"}
        Which of equal rows stays.

    Returns
    -------
    list of bool[n]
        For each partition, the rows to leave out.
    """
    every = np.concatenate([np.empty(0, dtype=np.uint64), *hashes])
    repeated = pd.Series(every).duplicated(keep=False if keep == "none" else keep).to_numpy()
    return np.split(repeated, np.cumsum([len(part) for part in hashes])[:-1]) if hashes else []
