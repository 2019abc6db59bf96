"""Whether the rows to learn from are kept in memory or in a file, and what cannot be kept at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TrainingError
from pipeline.model.columns import Side
from pipeline.runs.work.clean_rows import SIDE
from pipeline.runs.work.files import write_frame
from pipeline.runs.work.matrix_files import MatrixFile
from pipeline.runs.work.training_rows import MAPPED_BYTES, is_mapped, read_rows
from pipeline.steps.features import TARGET
from pipeline.storage.artifacts import Artifact, open_store

KEY, ROWS, COLUMNS = "1" * 64, 1200, 5
GB = 10**9


@pytest.mark.parametrize(
    ("size", "trainer", "params", "free", "expected"),
    [
        (GB, "torch_mlp", {}, 4 * GB, False),
        (GB + 4, "torch_mlp", {}, 4 * GB, True),
        (GB, "torch_mlp", {}, 0, True),
        (0, "torch_mlp", {}, 0, False),
        (MAPPED_BYTES, "torch_mlp", {}, None, False),
        (MAPPED_BYTES + 4, "torch_mlp", {}, None, True),
        (GB, "lightgbm", {}, GB // 4, True),
        (GB, "xgboost", {"tree_method": "hist"}, GB // 4, True),
        (GB, "xgboost", {"tree_method": "approx"}, 2 * GB, False),
        (GB, "random_forest", {}, GB, False),
        (GB, "random_forest", {}, None, False),
        (GB, "ridge", {}, 3 * GB, False),
    ],
)
def test_rows_are_in_a_file_where_they_are_much_and_the_trainer_reads_blocks(
    size: int, trainer: str, params: dict[str, Any], free: int | None, expected: object
) -> None:
    assert is_mapped(size, trainer, params, free) is expected


@pytest.mark.parametrize(
    ("trainer", "params", "needed", "free"),
    [
        ("random_forest", {}, "4.0", 3.96),
        ("ridge", {}, "12.0", 11.96),
        ("lightgbm", {}, "1.0", 0.96),
        ("xgboost", {}, "1.0", 0.96),
        ("xgboost", {"tree_method": "exact"}, "8.0", 7.96),
    ],
)
def test_rows_that_a_trainer_cannot_hold_are_told_with_what_is_needed(
    trainer: str, params: dict[str, Any], needed: str, free: float
) -> None:
    with pytest.raises(TrainingError) as error:
        is_mapped(4 * GB, trainer, params, int(free * GB))
    told = str(error.value)
    assert told.startswith(f"train: found 4.0 GB of features for {trainer}, which holds {needed} GB of memory for them")
    assert "(of a pod: run.train.memory)" in told
    able = told.partition("model.trainer: ")[2]
    assert "torch_mlp" in able
    assert ("lightgbm" in able) == (needed != "1.0")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    store = open_store(str(tmp_path / "store"), tmp_path)
    with store.draft() as folder:
        with MatrixFile(folder / "matrix.parquet", [str(each) for each in range(COLUMNS)]) as file:
            file.write(np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS))
        sides = np.resize(np.array([Side.TRAIN, Side.TEST, Side.VALIDATION], np.int8), ROWS)
        write_frame(pd.DataFrame({SIDE: sides, TARGET: np.arange(ROWS, dtype=np.float64)}), folder / "rows.parquet")
        return store.publish(KEY, folder, {})


@pytest.mark.parametrize(("trainer", "kind"), [("torch_mlp", np.memmap), ("random_forest", np.ndarray)])
def test_what_is_read_is_the_same_in_a_file_and_rows_of_the_test_are_not_read(
    artifact: Artifact, tmp_path: Path, trainer: str, kind: type
) -> None:
    needed = 4 * COLUMNS * ROWS * 2 // 3  # what is held for test elsewhere does not count
    found = read_rows(artifact, trainer, {}, tmp_path, needed)
    assert type(found.train) is type(found.validation) is kind
    rows = np.arange(ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    np.testing.assert_array_equal(found.train, rows[::3])
    np.testing.assert_array_equal(found.validation, rows[2::3])
    np.testing.assert_array_equal(found.train_target, np.arange(0, ROWS, 3))
