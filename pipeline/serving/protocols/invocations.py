"""MLflow's scoring protocol, ``POST /invocations``, so that its clients ask this server as they ask MLflow's.

One of ``dataframe_split``, ``dataframe_records``, ``instances`` and ``inputs`` holds the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.serving.rows.bodies import parse
from pipeline.serving.rows.columns import read_columns
from pipeline.serving.rows.faults import Fault, describe, shorten
from pipeline.serving.rows.records import rejected
from pipeline.serving.scoring.answers import Reply, encode
from pipeline.serving.scoring.questions import Question, Scores
from pipeline.serving.scoring.served import ServedModel


def read_invocation(model: ServedModel, body: bytes | bytearray, _headers: Mapping[bytes, bytes]) -> Question:
    """Read the body of ``/invocations``."""
    request = parse(body)
    if not isinstance(request, dict):
        raise rejected([Fault(describe(request), f"an object with one of {', '.join(_FORMS)}")])
    given = [key for key in request if key in _FORMS]
    unknown = [key for key in request if key not in _FORMS and key != "params"]
    if len(given) != 1 or unknown:
        found = ", ".join(f"'{shorten(key)}'" for key in [*given, *unknown][:5]) or "no key"
        raise rejected([Fault(found, f"exactly one of {', '.join(_FORMS)}")])
    return _FORMS[given[0]](model, request[given[0]])


def _answer(scores: Scores) -> Reply:
    return Reply(200, encode({"predictions": scores.outputs}))


def _read_split(_model: ServedModel, frame: Any) -> Question:
    if not isinstance(frame, dict) or not isinstance(frame.get("data"), list):
        raise rejected([Fault(describe(frame), "an object with 'columns' and 'data' under 'dataframe_split'")])
    names, rows = frame.get("columns"), frame["data"]
    if names is None:
        return Question(_answer, listed=rows)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise rejected([Fault("'columns' that are not different names", "an array of the columns' names")])
    faults = [
        Fault(describe(row), f"an array of {len(names)}, as many as 'columns'", number)
        for number, row in enumerate(rows)
        if not isinstance(row, list) or len(row) != len(names)
    ]
    if faults:
        raise rejected(faults)
    return Question(_answer, listed=[dict(zip(names, row, strict=True)) for row in rows])


def _read_rows(model: ServedModel, rows: Any) -> Question:
    """Read rows: arrays, records, or bare values where the model has one column."""
    if not isinstance(rows, list):
        raise rejected([Fault(describe(rows), "an array of rows")])
    bare = len(model.signature.inputs) == 1 and rows and not isinstance(rows[0], list | dict)
    return Question(_answer, listed=[[value] for value in rows] if bare else rows)


def _read_inputs(model: ServedModel, inputs: Any) -> Question:
    if not isinstance(inputs, dict):
        return _read_rows(model, inputs)
    columns: dict[str, Sequence[Any]] = {}
    for name, values in inputs.items():
        if not isinstance(values, list):
            raise rejected([Fault(describe(values), "an array of values", column=shorten(name))])
        columns[name] = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in values]
    return Question(_answer, rows=read_columns(model.reader, columns))


_FORMS: Mapping[str, Callable[[ServedModel, Any], Question]] = {
    "dataframe_split": _read_split,
    "dataframe_records": _read_rows,
    "instances": _read_rows,
    "inputs": _read_inputs,
}
