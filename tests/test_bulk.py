from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import parquet as pq

from pipeline.bulk import predict_file
from pipeline.errors import DataError, InputError
from tests.serving.bundles import write_bundle


def write(path: Path, table: pa.Table) -> Path:
    (pq.write_table if path.suffix == ".parquet" else pa_csv.write_csv)(table, path)
    return path


def read(path: Path) -> list[float]:
    table = pq.read_table(path) if path.suffix == ".parquet" else pa_csv.read_csv(path)
    values: list[float] = table.column("prediction").to_pylist()
    return values


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.parquet"])
def test_every_row_of_a_file_is_predicted_in_its_order(tmp_path: Path, source: str, target: str) -> None:
    count, told = 150_000, []
    given = write(tmp_path / source, pa.table({"other": ["a"] * count, "x": [float(row) for row in range(count)]}))
    done = predict_file(write_bundle(tmp_path / "b"), given, tmp_path / target, lambda rows, _: told.append(rows))
    assert (done, told[-1]) == (count, count)
    assert read(tmp_path / target) == [2.0 * row + 1 for row in range(count)]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["b", source, target])


def test_a_row_that_does_not_fit_leaves_no_file(tmp_path: Path) -> None:
    given = write(tmp_path / "in.parquet", pa.table({"x": [1.0, None]}))
    with pytest.raises(DataError, match=r"row 1, column 'x': found null; expected a value"):
        predict_file(write_bundle(tmp_path / "b"), given, tmp_path / "out.csv", lambda *_: None)
    assert not list(tmp_path.glob("*out*"))


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found the ending '\.txt'; expected \.csv or \.parquet"):
        predict_file(write_bundle(tmp_path / "b"), tmp_path / "in.txt", tmp_path / "o.csv", lambda *_: None)
