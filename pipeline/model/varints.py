"""Whole numbers as protobuf and Thrift write them: seven bits a byte, the lowest first."""

from __future__ import annotations

_LAST_SHIFT = 63


def read_varint(data: memoryview, place: int) -> tuple[int, int]:
    """Return a number and where it ends.

    Raises
    ------
    ValueError
        It has more than ten bytes, which no number of 64 bits needs.
    IndexError
        It is cut off.
    """
    value = shift = 0
    while True:
        part = data[place]
        place += 1
        value |= (part & 127) << shift
        if part < 128:
            return value, place
        shift += 7
        if shift > _LAST_SHIFT:
            raise ValueError("a number of more than 64 bits")
