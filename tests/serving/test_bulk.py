from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import json as pa_json
from pyarrow import parquet as pq

from pipeline.errors import DataError, InputError
from pipeline.serving.bulk import predict_file
from tests.serving.bundles import write_bundle


def write(path: Path, table: pa.Table) -> Path:
    match path.suffix:
        case ".parquet":
            pq.write_table(table, path)
        case ".jsonl":
            path.write_text("".join(f"{json.dumps(row)}\n" for row in table.to_pylist()))
        case _:
            pa_csv.write_csv(table, path)
    return path


def read(path: Path) -> list[float]:
    readers = {".parquet": pq.read_table, ".jsonl": pa_json.read_json, ".csv": pa_csv.read_csv}
    values: list[float] = readers[path.suffix](path).column("prediction").to_pylist()
    return values


@pytest.mark.parametrize("source", ["in.csv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_every_row_of_a_file_is_predicted_in_its_order(tmp_path: Path, source: str, target: str) -> None:
    count, told = 150_000, []
    given = write(tmp_path / source, pa.table({"other": ["a"] * count, "x": [float(row) for row in range(count)]}))
    done = predict_file(write_bundle(tmp_path / "b"), given, tmp_path / target, lambda rows, _: told.append(rows))
    assert (done, told[-1]) == (count, count)
    assert read(tmp_path / target) == [2.0 * row + 1 for row in range(count)]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["b", source, target])


@pytest.mark.parametrize("source", ["in.csv", "in.jsonl", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.jsonl", "out.parquet"])
def test_a_row_that_does_not_fit_leaves_no_file(tmp_path: Path, source: str, target: str) -> None:
    given = write(tmp_path / source, pa.table({"x": [1.0] * 140_000 + [None, 1.0], "y": ["a"] * 140_002}))
    with pytest.raises(DataError, match=r"column 'x': found null; expected a value"):
        predict_file(write_bundle(tmp_path / "b"), given, tmp_path / target, lambda *_: None)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("line", ['{"x": "much"}', '{"x": 1', "\xff"])
def test_a_broken_line_says_what_was_expected(tmp_path: Path, line: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"x": 1}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(InputError, match=r"in\.jsonl: found .*; expected a table of rows"):
        predict_file(write_bundle(tmp_path / "b"), tmp_path / "in.jsonl", tmp_path / "out.csv", lambda *_: None)


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found the ending '\.txt'; expected \.csv, \.jsonl or \.parquet"):
        predict_file(write_bundle(tmp_path / "b"), tmp_path / "in.txt", tmp_path / "o.csv", lambda *_: None)
