"""A text of any size, cut where a record ends."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from typing import IO

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading.unpacking import decode_chunks, tell_encoding

BLOCK_BYTES = 8 * 2**20
_RECORD_MAX_BYTES = 256 * 2**20


def read_text(source: IO[bytes], name: str, data: Data) -> Iterator[bytes]:
    """Read a text as chunks of UTF-8 without a byte order mark, whose lines end in a line feed.

    Raises
    ------
    DataError
        If it is not text in its encoding.
    """
    start = source.read(BLOCK_BYTES)
    chunks = decode_chunks(_chunks(start, source), name, tell_encoding(start, data))
    first = next(chunks)
    ends_in_returns = "\r" in first and "\n" not in first  # files of old Macs
    for text in itertools.chain([first], chunks):
        yield (text.replace("\r", "\n") if ends_in_returns else text).encode()


def _chunks(start: bytes, source: IO[bytes]) -> Iterator[bytes]:
    while start:
        yield start
        start = source.read(BLOCK_BYTES)


def cut(chunks: Iterable[bytes], name: str, delimiter: str | None) -> Iterator[bytes]:
    """Cut a text where a record ends.

    Parameters
    ----------
    delimiter : str or None
        What separates fields, which may be quoted and hold line ends; None where every line is a record.

    Raises
    ------
    DataError
        If a record is so long that a quote must be open.
    """
    rest = b""
    for chunk in chunks:
        rest += chunk
        if end := _last_border(rest, delimiter):
            yield rest[:end]
            rest = rest[end:]
        elif len(rest) > _RECORD_MAX_BYTES:
            raise DataError(
                f"read: {name}: found a record of more than {_RECORD_MAX_BYTES / 2**20:.0f} MiB; expected shorter ones,"
                " and a closing quote behind each opening one"
            )
    if rest:
        yield rest


def first_record(text: bytes, delimiter: str) -> bytes:
    """Return the first record, with its line end if it has one."""
    end = _hide_quoted(text, delimiter).find(b"\n") + 1
    return text[:end] if end else text


def _last_border(text: bytes, delimiter: str | None) -> int:
    """Return where the last complete record ends; 0 if none does."""
    end = text.rfind(b"\n") + 1
    # To take quoted fields out costs a quarter of hiding them, and most line ends are none inside of a field.
    if delimiter is None or b'"' not in text or _quoted(delimiter).sub(b"", text[:end]).endswith(b"\n"):
        return end
    return _hide_quoted(text, delimiter).rfind(b"\n") + 1


def _hide_quoted(text: bytes, delimiter: str) -> bytes:
    """Hide the line ends inside of quoted fields; a field that does not end yet reaches to the end of the text."""
    return _quoted(delimiter).sub(lambda found: b"." * len(found.group()), text) if b'"' in text else text


def _quoted(delimiter: str) -> re.Pattern[bytes]:
    # It begins with the quote, for which it is looked quickly; what stands before that is looked at afterwards.
    return re.compile(rb'"(?:(?<=[\n\r%s]")|(?<=\A"))(?:[^"]++|"")*+"?' % re.escape(delimiter.encode()))
