"""Rows grouped by the values of a column, few enough groups for a person to read."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from pipeline.steps.evaluate.sample import IntArray

MAX_VALUES = 20
RANGES = 5  # a number or time with more values than that is cut into this many ranges of equally many rows
MISSING, OTHER = "missing", "other"


def slice_rows(column: pd.Series) -> Mapping[str, IntArray]:
    """Group the rows of a column by its value.

    Parameters
    ----------
    column : Series of shape [N]
        A number, text or time column of a canonical frame.

    Returns
    -------
    mapping of str to int array
        Value → places of its rows, ascending; the most frequent value first, then ``other`` (all values beyond the
        20 most frequent), then ``missing``. A number or time with more than 20 values is cut at its quintiles.
    """
    codes, values = pd.factorize(column, sort=True)
    numeric = not (isinstance(column.dtype, pd.StringDtype) or column.dtype == object)
    names = list(map(_name, values))
    if numeric and len(values) > MAX_VALUES:
        codes, names = _cut(column, codes, values)
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    ranked = [int(each) for each in np.argsort(-counts, kind="stable")]
    shown, rest = ranked[:MAX_VALUES], ranked[MAX_VALUES:]
    groups = {names[each]: np.flatnonzero(codes == each) for each in shown}
    groups |= {_free(OTHER, groups): np.flatnonzero(np.isin(codes, rest))}
    groups |= {_free(MISSING, groups): np.flatnonzero(codes < 0)}
    return {name: rows for name, rows in groups.items() if rows.size}


def _cut(column: pd.Series, codes: IntArray, values: pd.Index) -> tuple[IntArray, list[str]]:
    """Replace the code of each value by the code of its range."""
    shares = [each / RANGES for each in range(1, RANGES)]
    edges = column.dropna().quantile(shares, interpolation="lower").unique()
    ranges = np.append(np.searchsorted(edges, values.to_numpy(), side="left"), -1)
    ends = list(map(_name, edges))
    between = [f"{low} to {high}" for low, high in pairwise(ends)]
    return ranges[codes], [f"up to {ends[0]}", *(f"over {each}" for each in between), f"over {ends[-1]}"]


def _name(value: object) -> str:
    """Write a value as a person would: ``3`` for ``3.0``."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _free(name: str, taken: Mapping[str, IntArray]) -> str:
    """Keep a group's name apart from a real value that reads the same."""
    return f"({name})" if name in taken else name
