"""Headers of image files: how large an image is, before anything is decoded, and whether its file is whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

_FORMATS = "a PNG, JPEG, WebP or BMP image"


class ImageError(ValueError):
    """The bytes are no image of a known format; the message says what was expected instead."""


def measure_image(content: bytes) -> tuple[int, int]:
    """Read height and width from the header, after a check that the file is complete.

    Raises
    ------
    ImageError
        It is cut off or damaged, or of another format.
    """
    for start, measure in _MEASURES.items():
        if content.startswith(start):
            try:
                return measure(content)
            except (struct.error, IndexError) as error:
                raise ImageError("an image that is not cut off") from error
    raise ImageError(_FORMATS)


_SIDE = struct.Struct("<H").unpack_from
_CHUNK, _CHECK = struct.Struct(">I4s").unpack_from, struct.Struct(">I").unpack_from
_PAIR = struct.Struct(">HH").unpack_from


def _measure_png(content: bytes) -> tuple[int, int]:
    """Walk over all chunks: OpenCV would decode what is left of a damaged file without an error."""
    place = 8
    kinds, view = list[bytes](), memoryview(content)
    while not kinds or kinds[-1] != b"IEND":
        size, kind = _CHUNK(content, place)
        (check,) = _CHECK(content, place + 8 + size)
        if zlib.crc32(view[place + 4 : place + 8 + size]) != check:  # a copy takes longer than the sum
            raise ImageError("an image that is not damaged")
        kinds.append(kind)
        place += 12 + size
    if kinds[0] != b"IHDR":
        raise ImageError("an image that is not damaged")
    width, height = struct.unpack(">II", content[16:24])
    return height, width


def _measure_jpeg(content: bytes) -> tuple[int, int]:
    if b"\xff\xd9" not in content[-1024:]:
        raise IndexError
    place = 2
    while True:
        marker, size = _PAIR(content, place)
        if 0xFFC0 <= marker <= 0xFFCF and marker not in {0xFFC4, 0xFFC8, 0xFFCC}:
            height, width = _PAIR(content, place + 5)
            return height, width
        if marker >> 8 != 0xFF or size < 2:
            raise ImageError("an image that is not damaged")
        place += 2 + size


def _measure_bmp(content: bytes) -> tuple[int, int]:
    total, width, height = struct.unpack("<2xI12xii", content[:26])
    if total > len(content):
        raise IndexError
    return abs(height), abs(width)


def _measure_webp(content: bytes) -> tuple[int, int]:
    """Read the first chunk, which is that of a lossy, a lossless or an extended file (RFC 9649, section 2)."""
    size, kind = struct.unpack("<4xI4x4s", content[:16])
    if size + 8 > len(content):
        raise IndexError
    if kind == b"VP8X" and content[20] & 2:
        raise ImageError("an image that does not move")
    if content[8:12] != b"WEBP" or kind not in _WEBP_SIDES:
        raise ImageError(_FORMATS)
    width, height = _WEBP_SIDES[kind](content)
    return height, width


def _both_sides(bits: int, each: int) -> tuple[int, int]:
    """Read two numbers of so many bits, which are one less than what they mean."""
    return (bits & ~(-1 << each)) + 1, (bits >> each & ~(-1 << each)) + 1


_WEBP_SIDES: Mapping[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"VP8 ": lambda content: (_SIDE(content, 26)[0] & 0x3FFF, _SIDE(content, 28)[0] & 0x3FFF),
    b"VP8L": lambda content: _both_sides(int.from_bytes(content[21:25], "little"), 14),
    b"VP8X": lambda content: _both_sides(int.from_bytes(content[24:30], "little"), 24),
}
_MEASURES: Mapping[bytes, Callable[[bytes], tuple[int, int]]] = {
    b"\x89PNG\r\n\x1a\n": _measure_png,
    b"\xff\xd8\xff": _measure_jpeg,
    b"BM": _measure_bmp,
    b"RIFF": _measure_webp,
}
