"""Rows as XGBoost and LightGBM take them: a block at a time, so that only their bins are in memory.

What is learnt is the same, bit for bit, whether the rows are in memory or in a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from pipeline.steps.train.mapping import block_rows, let_go, placed_blocks
from pipeline.steps.train.results import Array
from pipeline.steps.train.targets import Rows
from pipeline.steps.train.task import FitRequest


def xgboost_rows(request: FitRequest) -> dict[str, Any]:
    """Return the rows to learn from and to judge by, as XGBoost holds them: binned, where the tree method bins them.

    Returns
    -------
    dict
        ``train``, and ``validation`` if there are such rows, whose bins are those of ``train``.
    """
    import xgboost

    sides = {"train": request.train, "validation": request.validation}
    given = {name: rows for name, rows in sides.items() if len(rows)}
    if request.params["tree_method"] != "hist":
        return {
            name: xgboost.DMatrix(rows.features, label=rows.target, weight=rows.weights) for name, rows in given.items()
        }
    held: dict[str, Any] = {}
    for name, rows in given.items():
        bins = {"max_bin": request.params["max_bin"], "nthread": os.cpu_count()}
        held[name] = xgboost.QuantileDMatrix(_xgboost_blocks(rows), ref=held.get("train"), **bins)
    return held


def _xgboost_blocks(rows: Rows) -> Any:
    """Return what hands out rows again and again, as XGBoost asks for them."""
    import xgboost

    class Blocks(xgboost.DataIter):  # type: ignore[misc]
        """Rows in their order."""

        left = _parts(rows)

        def next(self, put: Callable[..., Any]) -> bool:
            part = next(self.left, None)
            if part is not None:
                put(data=part.features, label=part.target, weight=part.weights)
            return part is not None

        def reset(self) -> None:
            self.left = _parts(rows)

    return Blocks()


def _parts(rows: Rows) -> Iterator[Rows]:
    return (rows.part(places.start, places.stop) for places, _ in placed_blocks(rows.features))


def lightgbm_rows(rows: Rows) -> Any:
    """Return rows in memory as they are, and those of a file so that LightGBM reads them a block at a time."""
    import lightgbm

    features = rows.features
    if not isinstance(features, np.memmap):
        return features

    class Blocks(lightgbm.Sequence):  # type: ignore[misc]
        """Rows by their places, in the precision that LightGBM reads."""

        batch_size = block_rows(features.shape[1])

        def __getitem__(self, place: Any) -> Array:
            found: Array = features[place].astype(np.float64)
            if found.ndim > 1:
                let_go(features)
            return found

        def __len__(self) -> int:
            return len(features)

    return Blocks()
