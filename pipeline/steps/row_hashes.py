"""A hash of rows that is the same on every machine, in every process and with every version of a library.

The algorithm, for a frame whose columns are number, text or time (``pipeline/model/columns.py``):

1. A cell becomes 64 bits. Number: the bits of the float64, with -0.0 as 0.0. Time: microseconds since 1970-01-01.
   Text: BLAKE2b with a digest of 8 bytes (RFC 7693) of its UTF-8, little-endian. Missing, of any kind: ``MISSING``.
2. The cell's bits are xor-ed with the hash of the column's name (made as for text) and mixed by the finalizer of
   SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", figure 17).
3. The row's hash is the mixed sum of its cells' mixes, modulo 2**64, so that the order of the columns plays no part.

A draw in [0, 1) for some purpose is the upper 53 bits of the mix of the hash with the purpose's own salt, so that
draws for different purposes are independent of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError

Hashes = npt.NDArray[np.uint64]

MISSING = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(frame: pd.DataFrame, key: Sequence[str]) -> Hashes:
    """Hash each row by its key.

    Parameters
    ----------
    frame : DataFrame of n rows
        Canonical.
    key : sequence of str
        Columns that identify a row; without any, all columns do, and equal rows have equal hashes.

    Returns
    -------
    uint64[n]

    Raises
    ------
    DataError
        If a column of the key is not in the frame.
    """
    names = list(key) or list(frame.columns)
    if absent := [name for name in names if name not in frame.columns]:
        raise DataError(f"hash of the rows: found no column {', '.join(map(repr, absent[:5]))}; expected it (data.key)")
    total = np.zeros(len(frame), dtype=np.uint64)
    for name in names:
        total += _mix(_bits(frame[name]) ^ _of_text(str(name)))
    return _mix(total)


def draw(hashes: Hashes, purpose: str) -> npt.NDArray[np.float64]:
    """Draw a number in [0, 1) for each row and one purpose; equal hashes draw equal numbers."""
    return (salted(hashes, purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def salted(hashes: Hashes, purpose: str) -> Hashes:
    """Mix hashes with a purpose, so that they are independent of those for another purpose."""
    return _mix(hashes ^ _of_text(purpose))


def salted_by(hashes: Hashes, others: Hashes) -> Hashes:
    """Mix hashes with others, one for each, so that equal ones with different others differ."""
    return _mix(hashes ^ _mix(others))


def _bits(column: pd.Series) -> Hashes:
    if column.dtype.kind == "f":
        values = column.to_numpy(dtype=np.float64) + 0.0  # turns -0.0 into 0.0
        bits = values.view(np.uint64)
    elif column.dtype.kind == "M":
        bits = column.to_numpy(dtype="datetime64[us]").astype(np.int64).view(np.uint64)
    else:
        return _text_bits(column)
    missing = column.isna().to_numpy()
    return np.where(missing, MISSING, bits) if missing.any() else bits


def _text_bits(column: pd.Series) -> Hashes:
    codes, values = pd.factorize(column)
    table = np.empty(len(values) + 1, dtype=np.uint64)
    table[:-1] = [_of_text(value) for value in values]
    table[-1] = MISSING  # the code of a missing value is -1
    return table[codes]


def _of_text(text: str) -> np.uint64:
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mix(bits: Hashes) -> Hashes:
    """Mix 64 bits; in a fresh array, worked on in place since frames are long."""
    mixed = bits + MISSING
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
