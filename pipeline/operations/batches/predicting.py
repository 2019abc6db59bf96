"""Score a file of any size with a release, block by block; it is read as training data are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pipeline.errors import DataError, InputError
from pipeline.messages import count
from pipeline.model.signature import Signature
from pipeline.operations.batches.choosing import rules_for_batch
from pipeline.operations.batches.files import Draft, check_target, drafting, rejected_beside
from pipeline.operations.batches.keeping import Keeping
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.blocks import Block, read_blocks

ROW, PREDICTION = "row", "prediction"
_SHOWN = 3
_TOO_LARGE = "found values too large to compute with; expected values like those the model was trained on"

Predict = Callable[[pd.DataFrame], Mapping[str, Any]]
"""Raw rows → the columns of their predictions: ``prediction``, and ``probability_CLASS`` for each class."""
Tell = Callable[[int, float], None]
"""Is told the rows that are done, and the share of the file."""


@dataclass(frozen=True)
class Scored:
    """What became of a batch.

    Attributes
    ----------
    rows, predictions : int
        How many rows there were, and how many were predicted.
    rejected : int
        How many were not.
    reasons : tuple of str
        Of the first of these.
    """

    rows: int
    predictions: int
    rejected: int
    reasons: tuple[str, ...] = ()


def predict_file(
    signature: Signature,
    predict: Predict,
    data: Data,
    source: Path,
    target: Path,
    keep: Sequence[str] | None = None,
    tell: Tell = lambda *_: None,
) -> Scored:
    """Write the predictions for the rows of a file, in its order, and beside it the rows that cannot be predicted.

    Parameters
    ----------
    data : Data
        How training data are read (the spec's section).
    source : Path
        CSV, JSON Lines or Parquet, also in ``.gz`` or ``.zip``.
    target : Path
        ``.csv``, ``.jsonl`` or ``.parquet``. It appears only when it is complete, as does `rejected_beside` it.
    keep : sequence of str, optional
        Columns of the file that stand before the predictions; ``*`` for all. By default the key of the data where the
        file has it, else ``row``: the row's position in the file, counted from 1.

    Raises
    ------
    InputError
        If a file is of another kind or cannot be read, or `keep` names no column of it.
    DataError
        If the file lacks a column, or none of its rows can be predicted.
    """
    check_target(target, source)
    if not source.is_file():
        raise InputError(f"{source}: found no such file; expected the batch (--batch)")
    keeping, rules = Keeping(keep, data.key, signature), rules_for_batch(data, signature, source)
    reasons, done = list[str](), 0
    with drafting(target, rejected_beside(target)) as (good, bad):
        for block in read_blocks(source, rules, keeping.choose):
            wrong = _write_predictions(block, predict, good)
            bad.write(wrong)
            reasons += _reasons(wrong.slice(0, _SHOWN - len(reasons)))
            done = good.rows + bad.rows
            tell(done, block.share)
        if not done:
            raise InputError(f"{source}: found no rows; expected some")
        if not good.rows:
            raise DataError("\n  ".join([f"{source}: none of {count(done, 'row')} can be predicted", *reasons]))
        return Scored(done, good.rows, bad.rows, tuple(reasons))


def _write_predictions(block: Block, predict: Predict, good: Draft) -> pa.Table:
    """Write the predictions of a block; return the rows without one, and why."""
    wrong = block.reading.quarantined
    if len(block.positions):
        found = pa.table(dict(predict(block.reading.rows)))
        fits = _is_finite(found.column(PREDICTION))
        kept = block.kept if block.kept.num_columns else pa.table({ROW: block.positions})
        for name in found.column_names:
            kept = kept.append_column(name, found.column(name))
        good.write(kept if fits.all() else kept.filter(pa.array(fits)))
        if not fits.all():
            wrong = pd.concat([wrong, _too_large(block, block.positions[~fits].tolist())]).sort_values(ROW)
    return pa.table({ROW: wrong[ROW].to_numpy(), "reason": wrong["rule"].tolist(), "record": wrong["text"].tolist()})


def _is_finite(predictions: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    if not pa.types.is_floating(predictions.type):
        return np.ones(len(predictions), dtype=bool)
    return np.asarray(np.isfinite(predictions.to_numpy()))


def _too_large(block: Block, positions: Sequence[int]) -> pd.DataFrame:
    texts = block.records(positions)
    return pd.DataFrame({ROW: positions, "rule": _TOO_LARGE, "text": [texts.get(each, "") for each in positions]})


def _reasons(wrong: pa.Table) -> Iterator[str]:
    for each in wrong.to_pylist():
        yield f"row {each[ROW]}: {each['reason']}"
