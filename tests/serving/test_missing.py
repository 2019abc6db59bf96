"""What is missing in a row is missing wherever it comes from: a data file, a batch, a request."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pipeline.model.missing import MISSING_WORDS
from pipeline.model.signature import Input, Signature
from pipeline.operations.batches.choosing import rules_for_batch
from pipeline.runs.tracking.loaded_model import values_in
from pipeline.serving.rows.columns import read_columns
from pipeline.serving.rows.records import Reader
from pipeline.spec.schema.spec import Data
from pipeline.steps.clean.reading import read
from pipeline.steps.clean.reading.blocks import read_blocks
from pipeline.steps.transform import number_matrix, text_matrix

COLUMNS: dict[str, Any] = {
    "size": "float",
    "count": {"type": "int", "missing_values": [-999, "unknown"]},
    "flag": "bool",
    "when": {"type": "datetime", "missing_values": ["never"]},
    "place": "str",
    "class": {"type": "str", "missing_values": ["none of these"]},
}
EVERYWHERE = ["?", -1]
DATA = Data.model_validate({"columns": COLUMNS, "missing_values": EVERYWHERE, "max_quarantined": 0.0})
INPUTS = tuple(
    Input(name, rule.type, missing_values=tuple(DATA.missing_values_of(name))) for name, rule in DATA.columns.items()
)
# As a release keeps it, and a server reads it.
SIGNATURE = Signature.from_json(json.loads(json.dumps(Signature("regression", INPUTS).to_json())))
WORDS = st.sampled_from(MISSING_WORDS)
ABSENT = st.none() | st.sampled_from(["?", " NA "]) | WORDS
TEXTS = st.none() | WORDS | st.sampled_from(["DE", "none of these", "?", "-1", "-999", " NA ", "unknown", "é", 'a,"b"'])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "size": ABSENT | st.floats(-3e38, 3e38) | st.sampled_from([-1.0, -999.0, 0.1]),
    "count": ABSENT | st.integers(-(2**53) + 1, 2**53 - 1) | st.sampled_from([-1, -999, "unknown", "-999"]),
    "flag": ABSENT | st.booleans(),
    "when": ABSENT | st.sampled_from(["never", "2013-01-31T08:15:00", "1969-12-31T23:59:59.999999"]),
    "place": TEXTS,
    "class": TEXTS,
}


Matrices = tuple[bytes, list[list[str]]]


def listed(row: Mapping[str, Any]) -> list[Any]:
    return [row[name] for name in COLUMNS]


def as_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(
            ["" if each is None else str(each).lower() if isinstance(each, bool) else each for each in listed(row)]
            for row in rows
        )
    return path


def as_json_lines(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def as_parquet(rows: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write what Parquet can hold: a column of numbers has nulls and numbers for "missing", but no words."""
    kinds = {"size": pa.float64(), "count": pa.int64(), "flag": pa.bool_()}
    typed = {
        name: pa.array([None if name in kinds and isinstance(row[name], str) else row[name] for row in rows], type_)
        for name in COLUMNS
        for type_ in [kinds.get(name, pa.string())]
    }
    parquet.write_table(pa.table(typed), path)
    return path


WRITERS = {".csv": as_csv, ".jsonl": as_json_lines, ".parquet": as_parquet}


def bits(numbers: Any, texts: Any) -> Matrices:
    """Return what must be equal, with all bits; every NaN is the same one."""
    return np.where(np.isnan(numbers), np.nan, numbers).tobytes(), texts.tolist()


def read_everywhere(rows: Sequence[dict[str, Any]], folder: Path) -> Iterator[tuple[str, Matrices]]:
    reader = Reader(SIGNATURE)
    for ending, write in WRITERS.items():
        path = write(rows, folder / f"rows{ending}")
        trained = read(path.read_bytes(), path.name, DATA).rows
        yield f"trained{ending}", bits(number_matrix(trained, SIGNATURE.numbers), text_matrix(trained, SIGNATURE.texts))
        (block,) = read_blocks(path, rules_for_batch(DATA, SIGNATURE, path), lambda _: [])
        batch = block.reading.rows
        yield f"batch{ending}", bits(number_matrix(batch, SIGNATURE.numbers), text_matrix(batch, SIGNATURE.texts))
    for form, inputs in (("records", rows), ("arrays", [listed(row) for row in rows])):
        asked = reader.read(json.dumps({"inputs": inputs}).encode())
        yield form, bits(asked.numbers, asked.texts)
    frame = pd.DataFrame(list(rows), columns=list(COLUMNS))
    framed = read_columns(reader, {each.name: values_in(frame[each.name], each) for each in SIGNATURE.inputs})
    yield "a frame, in MLflow", bits(framed.numbers, framed.texts)
    columns = read_columns(reader, {name: [row[name] for row in rows] for name in COLUMNS})
    yield "columns", bits(columns.numbers, columns.texts)


@settings(deadline=None, max_examples=60, report_multiple_bugs=False, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=12))
def test_the_same_rows_give_the_same_matrix_in_every_format(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = dict(read_everywhere(rows, Path(folder)))
    first = found["trained.csv"]
    assert {name: each for name, each in found.items() if each != first} == {}


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("size", "NA", None),
        ("size", -999.0, -999.0),
        ("size", -1, None),
        ("count", -999, None),
        ("count", "unknown", None),
        ("flag", "None", None),
        ("place", "NA", "NA"),
        ("place", "none of these", "none of these"),
        ("class", "none of these", ""),
        ("class", "?", ""),
    ],
)
def test_what_is_missing_depends_on_the_column(column: str, value: Any, expected: Any) -> None:
    row = dict.fromkeys(COLUMNS) | {column: value}
    rows = Reader(SIGNATURE).read(json.dumps({"inputs": [row]}).encode())
    assert rows.numbers is not None
    assert rows.texts is not None
    names = SIGNATURE.numbers if column in SIGNATURE.numbers else SIGNATURE.texts
    found = (rows.numbers if column in SIGNATURE.numbers else rows.texts)[0, names.index(column)]
    assert (None if expected is None and np.isnan(found) else found) == expected
