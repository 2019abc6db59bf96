"""Missing values that are filled from other rows of the partition."""

from __future__ import annotations

import numpy as np
import pandas as pd


def fill_forward(values: pd.Series) -> pd.Series:
    """Repeat the last value; what is missing before the first one stays missing."""
    return values.ffill()


def interpolate(values: pd.Series, along: pd.Series | None = None) -> pd.Series:
    """Fill missing numbers on the straight line between their neighbours, and with the nearest beyond the ends.

    Parameters
    ----------
    values : Series of n numbers
        With NaN where missing. Without any value, nothing is filled.
    along : Series of n numbers or times, optional
        What the neighbours are found and weighed by; by default the position. Rows that have the same place on it
        count as one with their mean, and a value whose own place is missing stays missing.
    """
    numbers = values.to_numpy(dtype=np.float64)
    places = np.arange(len(numbers), dtype=np.float64) if along is None else _places(along)
    known = ~np.isnan(numbers) & ~np.isnan(places)
    wanted = np.isnan(numbers) & ~np.isnan(places)
    if not known.any() or not wanted.any():
        return values
    at, which = np.unique(places[known], return_inverse=True)
    means = np.bincount(which, weights=numbers[known]) / np.bincount(which)
    filled = numbers.copy()
    filled[wanted] = np.interp(places[wanted], at, means)
    return pd.Series(filled, index=values.index, name=values.name)


def _places(along: pd.Series) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if along.dtype.kind != "M":
        return along.to_numpy(dtype=np.float64)
    # Microseconds since the first one, which float64 keeps exactly for 285 years.
    since = (along - along.min()) // pd.Timedelta(microseconds=1)
    return np.asarray(since.to_numpy(dtype=np.float64, na_value=np.nan))
