"""Tensors of the Open Inference Protocol V2: JSON, and the binary tensor extension.

Numbers are little-endian; a ``BYTES`` element is its length in four bytes, then UTF-8.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.serving.rows.columns import Column
from pipeline.serving.rows.faults import Fault, describe, shorten
from pipeline.serving.rows.records import rejected

DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
"""Datatypes of a fixed size; ``BYTES`` is the other one."""


def read_tensor(tensor: Any, binary: memoryview, start: int) -> tuple[str, tuple[int, ...], Column, int]:
    """Read one input.

    Parameters
    ----------
    binary : memoryview
        What follows the JSON; its part from `start` on is this tensor's, if it says so.

    Returns
    -------
    tuple
        Name, shape, the values in row-major order, and where the next binary tensor starts.
    """
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise rejected([Fault(describe(tensor), "an object with 'name', 'shape', 'datatype' and 'data'")])
    name, kind = tensor["name"], str(tensor.get("datatype"))
    if kind != "BYTES" and kind not in DTYPES:
        known = ", ".join([*DTYPES, "BYTES"])
        raise rejected([Fault(f"the datatype {describe(kind)}", f"one of {known}", column=shorten(name))])
    shape = _shape(name, tensor.get("shape"))
    parameters = tensor.get("parameters") or {}
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        values: Column = _listed(name, kind, tensor.get("data"))
    else:
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise rejected([Fault(f"{describe(size)} bytes", f"the {len(binary) - start} that are left", column=name)])
        values = _binary(name, kind, binary[start : start + size])
        start += size
    if len(values) != math.prod(shape):
        expected = f"{math.prod(shape)}, as the shape {list(shape)} says"
        raise rejected([Fault(f"{len(values)} values", expected, column=shorten(name))])
    return name, shape, values, start


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    # int64 in the protocol; the digits of the product of longer ones could not even be written.
    is_list = isinstance(shape, list) and 1 <= len(shape) <= 2
    fits = is_list and all(type(size) is int and 0 <= size < 2**63 for size in shape)
    if not fits:
        raise rejected([Fault(f"the shape {describe(shape)}", "[rows] or [rows, columns]", column=shorten(name))])
    return tuple(shape)


def _listed(name: str, kind: str, data: Any) -> list[Any]:
    """Flatten what may be nested, as its shape is; a bare value is not an array."""
    if not isinstance(data, list):
        raise rejected([Fault(f"'data' is {describe(data)}", "an array of values", column=shorten(name))])
    nested = bool(data) and all(isinstance(row, list) for row in data)
    values = [value for row in data for value in row] if nested else data
    if kind == "BOOL":
        return [bool(value) if value in (0, 1) else value for value in values]
    listed: list[Any] = values
    return listed


def _binary(name: str, kind: str, content: memoryview) -> Column:
    if kind == "BYTES":
        return list(_texts(name, content))
    dtype = DTYPES[kind]
    if len(content) % dtype.itemsize:
        expected = f"a multiple of {dtype.itemsize} for {kind}"
        raise rejected([Fault(f"{len(content)} bytes", expected, column=shorten(name))])
    if kind == "BOOL":  # any byte but 0 is true; not every byte is a valid bool in memory
        flags: NDArray[np.bool_] = np.frombuffer(content, np.uint8) != 0
        return flags
    return np.frombuffer(content, dtype)


def _texts(name: str, content: memoryview) -> Iterator[str]:
    position = 0
    while position < len(content):
        if position + 4 > len(content):
            raise rejected([Fault("a length that is cut off", "four bytes, then the text", column=shorten(name))])
        (length,) = struct.unpack_from("<I", content, position)
        position += 4
        if position + length > len(content):
            raise rejected([Fault(f"a text of {length} bytes", "one that is all there", column=shorten(name))])
        try:
            yield str(content[position : position + length], "utf-8")
        except UnicodeDecodeError:
            raise rejected([Fault("bytes that are not UTF-8", "UTF-8", column=shorten(name))]) from None
        position += length


def write_binary(values: NDArray[Any] | Sequence[str], kind: str) -> bytes:
    """Write the bytes of a tensor."""
    if kind == "BYTES":
        return b"".join(struct.pack("<I", len(text)) + text for text in (str(value).encode() for value in values))
    return np.ascontiguousarray(values, DTYPES[kind]).tobytes()
