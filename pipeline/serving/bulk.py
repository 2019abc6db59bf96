"""Score a file of any size with a release, a portion at a time. The file may be CSV, JSON Lines or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as pa_csv
from pyarrow import json as pa_json
from pyarrow import parquet as pq

from pipeline.errors import DataError, InputError
from pipeline.model.signature import Input
from pipeline.serving.protocols.tables import predicted, values_of
from pipeline.serving.rows.bodies import RejectedError
from pipeline.serving.rows.columns import read_columns
from pipeline.serving.rows.records import Reader, Rows
from pipeline.serving.scoring.model import ServedModel, load_model

_PORTION_ROWS = 65_536
_PORTION_BYTES = 8 * 2**20
# As in training, a whole number may be written 3.0.
_TYPES = {
    "float": pa.float64(), "int": pa.float64(), "bool": pa.bool_(), "str": pa.string(), "datetime": pa.string(),
    "image": pa.string(),
}  # fmt: skip

_NUMBERS = {"float", "int", "bool"}

Inputs = Sequence[Input]
Tell = Callable[[int, float], None]
"""Is told the rows that are done, and the share of the file."""


def predict_file(bundle: Path, source: Path, target: Path, tell: Tell) -> int:
    """Write the predictions for each row of a file, in its order.

    Parameters
    ----------
    source, target : Path
        ``.csv``, ``.jsonl`` or ``.parquet``. The target appears only when it is complete.

    Returns
    -------
    int
        How many rows there were.

    Raises
    ------
    InputError
        If a file is of another kind or cannot be read.
    DataError
        If a row does not fit the model's signature.
    """
    model, done = load_model(bundle), 0
    for path in (source, target):
        if path.suffix not in _READERS:
            raise InputError(f"{path}: found the ending '{path.suffix}'; expected .csv, .jsonl or .parquet")
    draft, writer = target.with_name(f".{target.name}.part"), None
    try:
        for rows, share in read_rows(model.reader, source):
            table = _predict(model, rows)
            writer = writer or _open(draft, table.schema)
            writer.write_table(table)
            done += rows.count
            tell(done, share)
        if writer is None:
            raise InputError(f"{source}: found no rows; expected some")
        writer.close()
        draft.replace(target)
    finally:
        if writer is not None:
            writer.close()
        draft.unlink(missing_ok=True)
    return done


def read_rows(reader: Reader, source: Path) -> Iterator[tuple[Rows, float]]:
    """Read a file portion by portion, as the graph reads it, with the share of the file that is read; see above."""
    done, names = 0, {each.name for each in reader.inputs}
    for batch, share in _batches(reader.inputs, source):
        table = pa.Table.from_batches([batch])
        columns = {name: values_of(table.column(name)) for name in table.column_names if name in names}
        try:
            rows = read_columns(reader, columns)
        except RejectedError as error:
            raise DataError(f"{source}: after row {done}: {error}") from error
        done += rows.count
        yield rows, share


def _batches(inputs: Inputs, source: Path) -> Iterator[tuple[Any, float]]:
    try:
        yield from _READERS[source.suffix](inputs, source)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{source}: found {str(error).splitlines()[0]}; expected a table of rows") from error


def _parquet(inputs: Inputs, source: Path) -> Iterator[tuple[Any, float]]:
    with pq.ParquetFile(source) as file:
        names = [each.name for each in inputs if each.name in file.schema_arrow.names]
        done = 0
        for batch in file.iter_batches(_PORTION_ROWS, columns=names):
            done += batch.num_rows
            yield batch, done / max(file.metadata.num_rows, 1)


def _csv(inputs: Inputs, source: Path) -> Iterator[tuple[Any, float]]:
    numbers = {each.name: each for each in inputs if each.type in _NUMBERS}
    shared = frozenset.intersection(*(each.missing.words for each in numbers.values())) if numbers else frozenset[str]()
    done = 0
    try:
        # Arrow has one list of words for all columns; a column with words of its own is read as text first.
        own = {name: each for name, each in numbers.items() if each.missing.words != shared}
        for batch, share in _stream_csv(inputs, source, shared, own):
            done += batch.num_rows
            yield batch, share
    except pa.ArrowInvalid:  # a word with white space around it, or a fault
        yield from _stream_csv(inputs, source, shared, numbers, skipped=done)


def _stream_csv(
    inputs: Inputs, source: Path, words: Collection[str], as_text: Mapping[str, Input], skipped: int = 0
) -> Iterator[tuple[Any, float]]:
    types = {each.name: _TYPES[each.type] for each in inputs} | dict.fromkeys(as_text, pa.string())
    convert = pa_csv.ConvertOptions(column_types=types, null_values=sorted(words), strings_can_be_null=False)
    portions = pa_csv.ReadOptions(block_size=_PORTION_BYTES, skip_rows_after_names=skipped)
    size = max(source.stat().st_size, 1)
    with pa.OSFile(str(source)) as file, closing(pa_csv.open_csv(file, portions, convert_options=convert)) as reader:
        for batch in reader:
            yield _read_own_words(batch, as_text), min(file.tell() / size, 1.0)


def _read_own_words(batch: Any, own: Mapping[str, Input]) -> Any:
    for name in own.keys() & set(batch.schema.names):
        texts = compute.utf8_trim_whitespace(batch.column(name))
        missing = compute.is_in(texts, pa.array(sorted(own[name].missing.words)))
        values = compute.cast(compute.if_else(missing, None, texts), _TYPES[own[name].type])
        batch = batch.set_column(batch.schema.get_field_index(name), name, values)
    return batch


def _json_lines(inputs: Inputs, source: Path) -> Iterator[tuple[Any, float]]:
    schema = pa.schema([(each.name, _TYPES[each.type]) for each in inputs])
    size, done = max(source.stat().st_size, 1), 0
    with source.open("rb") as file:
        while lines := file.read(_PORTION_BYTES) + file.readline():
            done += len(lines)
            if lines.strip():
                yield _read_lines(inputs, lines, schema), done / size


def _read_lines(inputs: Inputs, lines: bytes, schema: Any) -> Any:
    parse = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    try:
        table = pa_json.read_json(pa.py_buffer(lines), pa_json.ReadOptions(block_size=len(lines)), parse)
    except pa.ArrowInvalid:
        table = _read_each_line(inputs, lines, schema)
    return table.combine_chunks().to_batches()[0]


def _read_each_line(inputs: Inputs, lines: bytes, schema: Any) -> Any:
    """Read lines among which a column of numbers has a text: a word that means "missing", or a fault."""
    try:
        records = msgspec.json.Decoder(dict[str, Any]).decode_lines(lines)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise pa.ArrowInvalid(str(error)) from error
    return pa.table(
        [
            [None if _is_missing(each, value := record.get(each.name)) else value for record in records]
            for each in inputs
        ],
        schema,
    )


def _is_missing(column: Input, value: Any) -> bool:
    return column.type in _NUMBERS and column.missing.has(value)


_READERS: Mapping[str, Callable[[Inputs, Path], Iterator[tuple[Any, float]]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}


def _predict(model: ServedModel, rows: Rows) -> Any:
    predictions = model.predict(rows.numbers, rows.texts)
    return pa.table(predicted(model, model.outputs(predictions), predictions))


class _LinesWriter:
    """Writes tables as JSON Lines, with the methods of Arrow's writers."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write_table(self, table: Any) -> None:
        self._file.write(msgspec.json.Encoder().encode_lines(table.to_pylist()))

    def close(self) -> None:
        self._file.close()


def _open(path: Path, schema: Any) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    match Path(path.name.removesuffix(".part")).suffix:
        case ".parquet":
            return pq.ParquetWriter(path, schema)
        case ".jsonl":
            return _LinesWriter(path)
    return pa_csv.CSVWriter(str(path), schema)
