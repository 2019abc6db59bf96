"""Arrow and Parquet bodies, for many rows; PyArrow is used only when asked.

The answer is Arrow too, unless the caller accepts JSON only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.serving.rows.columns import Column, read_columns
from pipeline.serving.rows.faults import Fault, RejectedError
from pipeline.serving.rows.opening import open_table
from pipeline.serving.scoring.answers import Reply, encode
from pipeline.serving.scoring.questions import Question, Scores
from pipeline.serving.scoring.served import Predictions, ServedModel, probability_names

ARROW, PARQUET = b"application/vnd.apache.arrow.stream", b"application/vnd.apache.parquet"
_BROKEN = (OSError, ValueError, ArithmeticError, LookupError)
"""What PyArrow raises, besides its own errors, for a damaged body or value."""


def read_table(model: ServedModel, body: bytes | bytearray, headers: Mapping[bytes, bytes]) -> Question:
    """Read a table whose columns are the signature's.

    Raises
    ------
    RejectedError
        415 without PyArrow, 400 for what is no table, 413 for one that grows too large, 422 for a misfit.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise RejectedError(415, "found a table; expected JSON, since this server has no PyArrow") from None
    try:
        table = open_table(body, parquet=headers[b"content-type"].startswith(PARQUET))
    except (pa.ArrowException, *_BROKEN) as error:
        raise RejectedError(400, f"the body is not the table it says it is: {_first_line(error)}") from None
    rows = read_columns(model.reader, {name: _read_column(name, table.column(name)) for name in table.column_names})
    wants_json = b"json" in headers.get(b"accept", b"")
    return Question(_answer_json if wants_json else _answer_arrow, rows=rows)


def _read_column(name: str, column: Any) -> Column:
    import pyarrow as pa

    try:
        return values_of(column)
    except (pa.ArrowException, *_BROKEN) as error:
        found = f"values of {column.type} that cannot be read ({_first_line(error)})"
        fault = Fault(found, "numbers, texts in UTF-8, and times of the years 1 to 9999", column=name)
        raise RejectedError(422, str(fault), (fault,)) from None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def values_of(column: Any) -> Column:
    """Convert a column of a table to an array, or to a list of JSON values."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type) or (column.null_count == 0 and pa.types.is_integer(column.type)):
        values: Column = column.to_numpy()
        return values
    if pa.types.is_timestamp(column.type):
        return [None if each is None else each.isoformat() for each in column.to_pylist()]
    listed: list[Any] = column.to_pylist()
    return listed


def _answer_json(scores: Scores) -> Reply:
    model = scores.model
    body = {"outputs": scores.outputs, "model": model.model, "version": model.version, "id": scores.prediction_id}
    return Reply(200, encode(body))


def _answer_arrow(scores: Scores) -> Reply:
    import pyarrow as pa

    columns = predicted(scores.model, scores.outputs, scores.predictions)
    facts = {"model": scores.model.model, "version": scores.model.version, "id": scores.prediction_id}
    table = pa.table(columns).replace_schema_metadata(facts)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Reply(200, sink.getvalue().to_pybytes(), content_type=ARROW)


def predicted(model: ServedModel, outputs: list[Any], predictions: Predictions) -> dict[str, Any]:
    """Build the columns of an answer: ``prediction``, and a ``probability_CLASS`` for each class."""
    shares = predictions.probabilities if outputs else None
    return {"prediction": outputs} | probability_columns(model.signature.classes, shares)


def probability_columns(classes: Sequence[Any] | None, shares: NDArray[Any] | None) -> dict[str, Any]:
    """Name a column for each class; none without classes or probabilities (n × C)."""
    if shares is None or classes is None:
        return {}
    doubles = np.asarray(shares, dtype=np.float64)
    return {name: doubles[:, place] for place, name in enumerate(probability_names(classes))}
