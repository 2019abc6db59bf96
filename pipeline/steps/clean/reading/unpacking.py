"""From the bytes of a file to text or Parquet: compression, format and encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Literal

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Data

Format = Literal["csv", "parquet", "jsonl", "images"]

FORMATS: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".png": "images",
    ".jpg": "images",
    ".jpeg": "images",
    ".bmp": "images",
    ".webp": "images",
}

# A file may unpack to this many bytes, or to a hundred times its size if that is more.
UNPACKED_MAX_BYTES = 4 * 2**30
UNPACKED_MAX_RATIO = 100

_USUAL_ENCODINGS = ("gbk", "shift_jis", "big5", "euc_kr", "cp1251", "cp1252")
_SHOWN_LETTERS = 20

_SIGNATURES: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip (name it .gz)",
    b"PK\x03\x04": "zip (name it .zip)",
    b"PAR1": "Parquet (data.format: parquet)",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
    b"version https://git-lfs": "a Git LFS pointer (fetch the file itself: git lfs pull)",
}

_BYTE_ORDER_MARKS: Mapping[bytes, str] = {  # the longer ones first: UTF-32's begins with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}

_CHUNK_BYTES = 2**24


def unpack(source: bytes, name: str) -> tuple[bytes, str]:
    """Unpack the bytes and the name of what a ``.gz`` or ``.zip`` file holds; return any other file as it is.

    Raises
    ------
    DataError
        If it is damaged, encrypted, holds not exactly one file, or unpacks to more than the limit.
    """
    unpacker = _UNPACKERS.get(PurePosixPath(name).suffix.lower())
    if unpacker is None:
        return source, name
    try:
        return unpacker(source, name, max(UNPACKED_MAX_BYTES, UNPACKED_MAX_RATIO * len(source)))
    except (EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise DataError(f"read: {name}: cannot be unpacked, it is damaged or cut off ({error}); replace it") from error


def _unzip(source: bytes, name: str, limit: int) -> tuple[bytes, str]:
    with zipfile.ZipFile(io.BytesIO(source)) as archive:
        member = only_member(archive, name)
        if member.file_size > limit:
            raise _too_large(name, limit)
        return archive.read(member), member.filename


def only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Find the one file in an archive."""
    members = [each for each in archive.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        found = ", ".join(each.filename for each in members[:5]) or "none"
        raise DataError(f"read: {name}: found {len(members)} files in it ({found}); expected exactly one")
    if members[0].flag_bits & 1:
        raise DataError(f"read: {name}: is encrypted; expected a zip without a password")
    return members[0]


def _gunzip(source: bytes, name: str, limit: int) -> tuple[bytes, str]:
    parts: list[bytes] = []
    size = 0
    with gzip.GzipFile(fileobj=io.BytesIO(source)) as stream:
        while part := stream.read(_CHUNK_BYTES):
            size += len(part)
            if size > limit:
                raise _too_large(name, limit)
            parts.append(part)
    return b"".join(parts), name[: -len(".gz")]


_UNPACKERS: Mapping[str, Callable[[bytes, str, int], tuple[bytes, str]]] = {".zip": _unzip, ".gz": _gunzip}


def _too_large(name: str, limit: int) -> DataError:
    return DataError(
        f"read: {name}: unpacks to more than {limit / 2**30:.0f} GiB and {UNPACKED_MAX_RATIO} times its size; "
        "expected a smaller partition (data.files)"
    )


def tell_format(name: str, data: Data) -> Format:
    """Find the format: the one in the spec, else that of the file name's suffix."""
    ending = PurePosixPath(name).suffix.lower()
    if data.format is None and ending not in FORMATS:
        known = ", ".join(FORMATS)
        raise DataError(f"read: {name}: found the ending {ending!r}; expected one of {known}, or say it (data.format)")
    return data.format or FORMATS[ending]


def to_utf8(source: bytes, name: str, data: Data) -> bytes:
    """Convert a text file to UTF-8 without a byte order mark; a mark takes precedence over ``data.encoding``.

    UTF-8 itself is not checked here, since the parser does it at no cost.
    """
    encoding = tell_encoding(source, data)
    text = source if _is_utf8(encoding) else decode(source, name, encoding).encode()
    if looks_like := next((each for start, each in _SIGNATURES.items() if text.startswith(start)), None):
        raise DataError(f"read: {name}: looks like {looks_like}; expected text (data.files)")
    if b"\0" in text:
        raise DataError(
            f"read: {name}: found a NUL byte at offset {text.index(0):,}, so it is binary or UTF-16 without a mark; "
            "expected text (data.format, data.encoding)"
        )
    # Parsers here end a line at \n; files of old Macs have only \r.
    return text.replace(b"\r", b"\n") if b"\r" in text and b"\n" not in text else text


def tell_encoding(start: bytes, data: Data) -> str:
    """Tell a file's encoding by its byte order mark, else by the spec."""
    return next((each for mark, each in _BYTE_ORDER_MARKS.items() if start.startswith(mark)), data.encoding)


def decode(source: bytes, name: str, encoding: str) -> str:
    """Decode a whole file, or say where it cannot be."""
    return "".join(decode_chunks([source], name, encoding))


def decode_chunks(chunks: Iterable[bytes], name: str, encoding: str) -> Iterator[str]:
    """Decode a file chunk by chunk, or say where it cannot be."""
    try:
        decoder = codecs.getincrementaldecoder(encoding)()
    except LookupError as error:
        raise DataError(
            f"read: {name}: found the encoding {encoding!r}; expected a known one (data.encoding)"
        ) from error
    line = 1
    try:
        for chunk in chunks:
            yield (text := decoder.decode(chunk))
            line += text.count("\n")
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        raise DataError(
            f"read: {name}:{line}: found bytes that are not {encoding} "
            f"({error.object[error.start : error.start + 4]!r}); expected the file's own encoding (data.encoding): "
            f"the line would read {_try_encodings(error.object, error.start)}"
        ) from error


def _try_encodings(source: bytes, place: int) -> str:
    """Show a line as the usual encodings would read it: whoever knows the language sees which one is right."""
    line = source[source.rfind(b"\n", 0, place) + 1 :].split(b"\n", 1)[0].strip()
    read = {}
    for encoding in _USUAL_ENCODINGS:
        with suppress(UnicodeDecodeError):
            read[encoding] = line.decode(encoding)
    shown = {name: text[:_SHOWN_LETTERS] for name, text in read.items() if text.replace("\t", " ").isprintable()}
    return ", ".join(f"{text!r} in {name}" for name, text in shown.items()) or "in none of the usual ones"


def _is_utf8(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name == "utf-8"
    except LookupError:
        return False
