"""Columns whose type was inferred and may be another: what a run says of them, and the key that decides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import compute

from pipeline.messages import quote

_NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
_DECIMAL_COMMA = r"^\s*[+-]?\d+,\d+\s*$"
_THOUSANDS = r"^\s*[+-]?\d{1,3}([,. '_]\d{3})*([.,]\d*)?\s*$"
_SURE_THOUSANDS = r"\d,\d{3}[,.]|\d\.\d{3}[.,]|\d[ '_]\d{3}"

# A text is doubtful if so many of its values look like numbers; the first ones tell whether to look at all.
_DOUBTFUL_SHARE = 0.8
_LOOKED_AT = 200


def doubt_text(name: str, column: pa.ChunkedArray, positions: npt.NDArray[np.int64]) -> Iterator[str]:
    """Say what is doubtful about a column that was read as text since not all of its values are numbers.

    Parameters
    ----------
    column : ChunkedArray of n texts
    positions : int64[n]
        Where each value's row is in the file, counted from 1.
    """
    first_ones = column.slice(0, _LOOKED_AT)
    if (written := _find_thousands(first_ones)) is not None:
        yield (
            f"{quote(name)}: found values such as {written!r}, so the column is read as a text; for numbers with "
            f"parted thousands say data.thousands (else the type: data.columns.{name}.type)"
        )
    elif _share(first_ones, _DECIMAL_COMMA) >= _DOUBTFUL_SHARE:
        first = next(each for each in column.to_pylist() if each)
        yield (
            f"{quote(name)}: found values such as {first!r}, so the column is read as a text; for numbers with a "
            f"decimal comma say data.decimal: ',' (else the type: data.columns.{name}.type)"
        )
    elif _share(first_ones, _NUMBER) >= _DOUBTFUL_SHARE:
        yield from _doubt_numbers(name, column, positions)


def _doubt_numbers(name: str, column: pa.ChunkedArray, positions: npt.NDArray[np.int64]) -> Iterator[str]:
    given = compute.and_(column.is_valid(), compute.not_equal(column, ""))
    wrong = compute.and_(given, compute.invert(compute.match_substring_regex(column, _NUMBER)))
    rows = compute.indices_nonzero(wrong).to_pylist()
    total = compute.sum(given).as_py()
    if not 0 < len(rows) <= (1 - _DOUBTFUL_SHARE) * total:
        return
    shown = ", ".join(f"{column[row].as_py()!r} in row {positions[row]}" for row in rows[:3])
    yield (
        f"{quote(name)}: {total - len(rows):,} of {total:,} values are numbers and {len(rows):,} not ({shown}"
        f"{', …' if len(rows) > 3 else ''}), so the column is read as a text; where they mean a missing value say "
        f"data.missing_values: [{column[rows[0]].as_py()}] (else the type: data.columns.{name}.type)"
    )


def _find_thousands(column: pa.ChunkedArray) -> str | None:
    """Return a value whose thousands are surely parted: at two places, or before decimals of another kind."""
    if _share(column, _THOUSANDS) < _DOUBTFUL_SHARE:
        return None
    sure = column.filter(compute.match_substring_regex(column, _SURE_THOUSANDS))
    return str(sure[0].as_py()) if len(sure) else None


def _share(column: pa.ChunkedArray, pattern: str) -> float:
    given = column.filter(compute.not_equal(column, ""))
    return (compute.sum(compute.match_substring_regex(given, pattern)).as_py() or 0) / max(len(given), 1)
