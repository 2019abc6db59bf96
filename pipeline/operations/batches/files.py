"""The files that a batch becomes: whole, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import pyarrow as pa
from pyarrow import csv, parquet

from pipeline.errors import DataError, InputError

ENDINGS = (".csv", ".jsonl", ".parquet")


class _Writer(Protocol):
    def write_table(self, table: pa.Table) -> None: ...

    def close(self) -> None: ...


class _LinesWriter:
    """Writes tables as JSON Lines, with the methods of Arrow's writers."""

    def __init__(self, path: str, _schema: pa.Schema) -> None:
        self._file = Path(path).open("wb")  # noqa: SIM115  # closed by `close`

    def write_table(self, table: pa.Table) -> None:
        self._file.write(msgspec.json.Encoder().encode_lines(table.to_pylist()))

    def close(self) -> None:
        self._file.close()


_WRITERS: Mapping[str, Callable[[str, pa.Schema], _Writer]] = {
    ".csv": csv.CSVWriter,
    ".jsonl": _LinesWriter,
    ".parquet": parquet.ParquetWriter,
}


class Draft:
    """A file that is written under another name until it is whole.

    Attributes
    ----------
    rows : int
        How many were written.
    """

    def __init__(self, target: Path) -> None:
        self.target, self.rows = target, 0
        self._path = target.with_name(f".{target.name}.{os.getpid()}.part")
        self._writer: _Writer | None = None
        self._schema: pa.Schema | None = None

    def write(self, table: pa.Table) -> None:
        """Add rows; the first ones decide the types of the columns.

        Raises
        ------
        DataError
            If the format cannot hold a column, or later rows are of another type.
        """
        if not len(table):
            return
        try:
            if self._writer is None or self._schema is None:
                self._schema = pa.schema([field.with_type(_kept_type(field.type)) for field in table.schema])
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._writer = _WRITERS[self.target.suffix](str(self._path), self._schema)
            fits = self.target.suffix == ".jsonl" or table.schema == self._schema
            self._writer.write_table(table if fits else table.cast(self._schema))
        except pa.ArrowException as error:
            raise DataError(
                f"{self.target}: found columns that cannot be written ({str(error).splitlines()[0]}); expected plain"
                " values of one type in a column (keep fewer columns, or write .jsonl)"
            ) from error
        self.rows += len(table)

    def publish(self) -> None:
        """Rename the draft to its target; one without rows is removed, also what an earlier batch left there."""
        self._close()
        if self.rows:
            self._path.replace(self.target)
        else:
            self.target.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what was written and not published."""
        self._close()
        self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _kept_type(kind: pa.DataType) -> pa.DataType:
    """Write a column without any value yet as text, and one of few values by these."""
    if pa.types.is_null(kind):
        return pa.string()
    return kind.value_type if pa.types.is_dictionary(kind) else kind


@contextmanager
def drafting(*targets: Path) -> Iterator[tuple[Draft, ...]]:
    """Open files that appear together once all is written, the first one last; none appears after an error."""
    drafts = tuple(map(Draft, targets))
    try:
        yield drafts
        for draft in reversed(drafts):
            draft.publish()
    finally:
        for draft in drafts:
            draft.discard()


def check_target(path: Path, source: Path) -> None:
    """Refuse a name for the predictions under which they cannot be written.

    Raises
    ------
    InputError
        If it has another ending, or is the batch itself.
    """
    if path.suffix not in ENDINGS:
        raise InputError(
            f"{path}: found the ending '{path.suffix}'; expected {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
        )
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path}: found the batch itself; expected another file for the predictions (--out)")


def rejected_beside(target: Path) -> Path:
    """Name the file of rows that are not predicted."""
    return target.with_name(f"{target.stem}.rejected{target.suffix}")
