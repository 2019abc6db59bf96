"""A look into an ONNX file without the onnx package, which the server does without.

Only the wire format is read (field numbers and lengths, as in onnx.proto), and only on the way to tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pipeline.model.varints import read_varint

_DATA_LOCATION, _EXTERNAL_DATA = 14, 13
CHILDREN: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
"""Message → number of a field → the message in it."""
LEAVES = re.compile(rb"(?:\x40[\x80-\xff]{0,9}[\x00-\x7f]|\x4a(?:\x04LEAF|\x0aBRANCH_LEQ))+")
"""Fields of an attribute with an integer or a kind of a tree's node: a forest has a million of them."""


def has_external_data(content: bytes) -> bool:
    """Tell whether a tensor of the model is stored in another file.

    Parameters
    ----------
    content : bytes
        A serialized ``ModelProto``. What cannot be walked is taken to have external data, if the word is in it.
    """
    if b"location" not in content:  # the key that every reference to a file needs; saves walking large trees
        return False
    try:
        return _walk(memoryview(content), "model", 0)
    except (IndexError, ValueError):
        return True


def _walk(message: memoryview, kind: str, depth: int) -> bool:
    if depth > 100:
        raise ValueError(depth)
    children = CHILDREN[kind]
    for number, value in fields(message):
        if kind == "tensor" and (number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value == 1)):
            return True
        if number in children and isinstance(value, memoryview) and _walk(value, children[number], depth + 1):
            return True
    return False


def fields(message: memoryview, skipped: re.Pattern[bytes] | None = None) -> Iterator[tuple[int, int | memoryview]]:
    """Yield each field's number and value: an integer, or bytes; IndexError or ValueError if it cannot be read.

    Parameters
    ----------
    skipped : pattern, optional
        Whole fields that nobody wants to see.
    """
    position, size = 0, len(message)
    while position < size:
        if skipped and (run := skipped.match(message, position)):
            position = run.end()
            continue
        tag, position = read_varint(message, position)
        wire = tag & 7
        if wire == 0:
            value, position = read_varint(message, position)
            yield tag >> 3, value
            continue
        length, position = (
            (8, position) if wire == 1 else (4, position) if wire == 5 else _length(message, position, wire)
        )
        if position + length > size:
            raise ValueError(position)
        yield tag >> 3, message[position : position + length]
        position += length


def _length(message: memoryview, position: int, wire: int) -> tuple[int, int]:
    if wire != 2:
        raise ValueError(wire)
    return read_varint(message, position)
