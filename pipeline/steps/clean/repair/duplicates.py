"""Rows that occur more than once in a partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.spec.schema.spec import Duplicates
from pipeline.steps.row_hashes import row_hashes

_KEEP: Mapping[str, Literal["first", "last", False]] = {"first": "first", "last": "last", "none": False}


def find_duplicates(rows: pd.DataFrame, rule: Duplicates, key: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Mark the rows that repeat another one and are not the one to keep.

    Parameters
    ----------
    rows : DataFrame of n rows
        Canonical.
    rule : Duplicates
        By the key, where there is one and the rule does not say ``row``: a row whose key has a missing value is equal
        to none, as in SQL. By the whole row: two missing values are equal.
    key : sequence of str
        Columns that identify a row.

    Notes
    -----
    Only rows whose hash occurs twice are compared, which needs less memory than comparing all; so the result is exact.
    """
    by_key = bool(key) and rule.by != "row"
    columns = list(key) if by_key else list(rows.columns)
    candidates = pd.Series(row_hashes(rows, columns)).duplicated(keep=False).to_numpy()
    if by_key:
        for name in key:
            candidates = candidates & rows[name].notna().to_numpy()
    places = np.flatnonzero(candidates)
    duplicate = np.zeros(len(rows), dtype=bool)
    duplicate[places] = rows[columns].iloc[places].duplicated(keep=_KEEP[rule.keep]).to_numpy()
    return duplicate
