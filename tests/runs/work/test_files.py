"""How frames and matrices are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline.runs.work.files import read_frame, write_frame
from pipeline.runs.work.matrix_files import MatrixFile, read_matrix

ROWS = 20_000
VALUES = pd.DataFrame({
    "measured": np.random.default_rng(0).normal(size=ROWS),
    "counted": np.arange(ROWS, dtype=float) % 60,
    "missing": np.full(ROWS, np.nan),
    "named": [f"name {place % 7}" for place in range(ROWS)],
    "short": np.where(np.arange(ROWS) < 3, 1.5, np.nan),
})  # fmt: skip


def dictionaries(path: Path) -> set[str]:
    """Name the columns that have a dictionary."""
    group = pq.read_metadata(path).row_group(0)
    columns = (group.column(place) for place in range(group.num_columns))
    return {each.path_in_schema for each in columns if each.has_dictionary_page}


def test_only_values_that_repeat_have_a_dictionary(tmp_path: Path) -> None:
    write_frame(VALUES, tmp_path / "rows.parquet")
    assert dictionaries(tmp_path / "rows.parquet") == {"counted", "missing", "named", "short"}
    pd.testing.assert_frame_equal(read_frame(tmp_path / "rows.parquet"), VALUES)
    numbers = VALUES[["measured", "counted"]].to_numpy(dtype=np.float32)
    with MatrixFile(tmp_path / "matrix.parquet", ["measured", "counted"]) as file:
        file.write(numbers)
    assert dictionaries(tmp_path / "matrix.parquet") == {"counted"}
    (read,), names = read_matrix(tmp_path / "matrix.parquet", np.ones(ROWS, dtype=bool))
    assert names == ("measured", "counted")
    np.testing.assert_array_equal(read, numbers)


@pytest.mark.parametrize("rows", [0, 1])
def test_a_matrix_of_hardly_any_row_is_read_as_it_was_written(tmp_path: Path, rows: int) -> None:
    with MatrixFile(tmp_path / "matrix.parquet", ["a"]) as file:
        file.write(np.ones((rows, 1), dtype=np.float32))
    (read,), _ = read_matrix(tmp_path / "matrix.parquet", np.ones(rows, dtype=bool))
    assert read.shape == (rows, 1)


def test_numbers_that_do_not_repeat_take_less_room_than_with_a_dictionary(tmp_path: Path) -> None:
    only = VALUES[["measured"]]
    write_frame(only, tmp_path / "rows.parquet")
    pq.write_table(pq.read_table(tmp_path / "rows.parquet"), tmp_path / "with.parquet", compression="lz4")
    assert (tmp_path / "rows.parquet").stat().st_size < 0.9 * (tmp_path / "with.parquet").stat().st_size
