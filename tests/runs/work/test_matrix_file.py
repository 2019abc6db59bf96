"""The matrix on disk: written piece by piece, read group by group."""

import numpy as np
import pytest

from pipeline.runs.work.matrix_files import MatrixFile, read_matrix

ROWS, NAMES = 1_000, ("a", "b", "c")


@pytest.fixture
def matrix(monkeypatch):
    monkeypatch.setattr("pipeline.steps.train.mapping.MAX_BLOCK_ROWS", 64)
    return np.random.default_rng(0).random((ROWS, len(NAMES)), dtype=np.float32)


def write(path, pieces):
    with MatrixFile(path, NAMES) as file:
        for piece in pieces:
            file.write(piece)
    return path.read_bytes()


@pytest.mark.parametrize("sizes", [[ROWS], [1] * ROWS, [0, 64, 0, 1, 63, 500, ROWS - 628], [128] * 7 + [ROWS - 896]])
def test_the_bytes_do_not_depend_on_the_pieces(tmp_path, matrix, sizes):
    whole = write(tmp_path / "whole", [matrix])
    pieces = np.split(matrix, np.cumsum(sizes)[:-1])
    assert write(tmp_path / "pieces", pieces) == whole


def test_each_mask_gets_its_rows_in_order(tmp_path, matrix):
    write(tmp_path / "matrix", [matrix])
    first = np.arange(ROWS) % 3 == 0
    nothing = np.zeros(ROWS, dtype=bool)
    found, names = read_matrix(tmp_path / "matrix", first, ~first, nothing)
    assert names == NAMES
    for read, mask in zip(found, (first, ~first, nothing), strict=True):
        np.testing.assert_array_equal(read, matrix[mask])
        assert read.flags.c_contiguous


def test_a_matrix_without_rows_keeps_its_columns(tmp_path):
    write(tmp_path / "empty", [])
    (found,), names = read_matrix(tmp_path / "empty", np.zeros(0, dtype=bool))
    assert (found.shape, names) == ((0, 3), NAMES)


def test_columns_whose_names_begin_alike_are_told_apart_however_few_are_read_together(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.runs.work.matrix_files._TOGETHER", 2)
    names = ("a", "a.b", "a.b.c", "b", "photo[0,1]")
    rows = np.arange(50, dtype=np.float32).reshape(10, 5)
    with MatrixFile(tmp_path / "matrix", names) as file:
        file.write(rows)
    (found,), read = read_matrix(tmp_path / "matrix", np.ones(10, dtype=bool))
    assert read == names
    np.testing.assert_array_equal(found, rows)
