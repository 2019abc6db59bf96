"""Sizes of Parquet's pages, read from their headers, which PyArrow trusts and does not expose.

A header is a struct in Thrift's compact protocol; its first fields are the page's kind, its size decompressed, and its
size in the file.

References
----------
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

_DECOMPRESSED, _IN_FILE = 2, 3
_DEEPEST = 8
_STRUCT = 12
_LAST_SHIFT = 63


def page_sizes(pages: memoryview) -> Iterator[int]:
    """Yield the decompressed size of each page of a column.

    Raises
    ------
    ValueError, IndexError
        A header is damaged.
    """
    place = 0
    while place < len(pages):
        header, place = _read_struct(pages, place, 0)
        sizes = header.get(_DECOMPRESSED, -1), header.get(_IN_FILE, -1)
        if min(sizes) < 0:
            raise ValueError("a page without its size")
        yield sizes[0]
        place += sizes[1]


def _read_struct(data: memoryview, place: int, depth: int) -> tuple[dict[int, int], int]:
    """Read the integers of a struct by their fields' numbers, and the position after it."""
    if depth > _DEEPEST:
        raise ValueError("a page header nested too deeply")
    found: dict[int, int] = {}
    field = 0
    while head := data[place]:
        place += 1
        step, kind = head >> 4, head & 15
        if step:
            field += step
        else:
            field, place = _integer(data, place)
        if kind == _STRUCT:
            _, place = _read_struct(data, place, depth + 1)
        else:
            found[field], place = _reader(kind)(data, place)
    return found, place + 1


def _reader(kind: int) -> Callable[[memoryview, int], tuple[int, int]]:
    if kind not in _READERS:
        raise ValueError(f"a field of the kind {kind} in a page header")
    return _READERS[kind]


def _integer(data: memoryview, place: int) -> tuple[int, int]:
    value, place = _read_varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _bytes(data: memoryview, place: int) -> tuple[int, int]:
    length, place = _read_varint(data, place)
    return length, place + length


_READERS: Mapping[int, Callable[[memoryview, int], tuple[int, int]]] = {
    1: lambda _, place: (1, place),
    2: lambda _, place: (0, place),
    3: lambda data, place: (data[place], place + 1),
    4: _integer,
    5: _integer,
    6: _integer,
    7: lambda _, place: (0, place + 8),
    8: _bytes,
}
"""Kind → reads such a value: true, false, byte, integers, double, bytes. Headers have no lists, sets or maps."""


def _read_varint(data: memoryview, place: int) -> tuple[int, int]:
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
