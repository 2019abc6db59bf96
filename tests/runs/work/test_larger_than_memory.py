"""A network learns from more rows than the process may hold."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.model.columns import Side
from pipeline.runs.work.clean_rows import SIDE
from pipeline.runs.work.files import write_frame
from pipeline.runs.work.matrix_files import MatrixFile
from pipeline.steps.features import TARGET
from pipeline.storage.artifacts import Artifact, open_store

pytestmark = pytest.mark.extra("torch")

COLUMNS, PIECE, PIECES = 500, 32_768, 5
BLOCK = 8 * 2**20
FEATURES = 4 * COLUMNS * PIECE * PIECES
KEY = "1" * 64

LEARN = f"""
import json, sys
from pathlib import Path
import numpy as np
from pipeline.steps.train import mapping
mapping.BLOCK_BYTES = {BLOCK}
from pipeline.runs.costs import measure
from pipeline.spec.schema.spec import Model
from pipeline.storage.artifacts import open_store
from pipeline.steps.train.results import Matrix
from pipeline.steps.train.training import train
from pipeline.runs.memory import returned_memory
from pipeline.runs.work.training_rows import read_rows

place = Path(sys.argv[1])
model = Model(name="m", trainer="torch_mlp", params={{"layers": [4], "epochs": 2, "batch_size": 4096}})
few, target = np.ones((64, {COLUMNS}), np.float32), np.arange(64.0)
train(Matrix(few, target, few, target, tuple(map(str, range({COLUMNS})))), model, "regression")  # imports all
artifact = open_store(str(place / "store"), place).find("{KEY}")
with measure() as before:
    pass
peaks = {{}}
for name, free in (("files", {FEATURES}), ("memory", sys.maxsize)):
    with returned_memory(), measure() as cost:
        rows = read_rows(artifact, "torch_mlp", model.params, place / "scratch", free)
        assert train(rows, model, "regression").parity.holds
    peaks[name] = cost.peak_bytes - before.peak_bytes
print(json.dumps(peaks))
"""


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    monkeypatch.setattr("pipeline.steps.train.mapping.BLOCK_BYTES", BLOCK)
    random = np.random.default_rng(0)
    store = open_store(str(tmp_path / "store"), tmp_path)
    rows = PIECE * PIECES
    with store.draft() as folder:
        with MatrixFile(folder / "matrix.parquet", [str(each) for each in range(COLUMNS)]) as file:
            for _ in range(PIECES):
                file.write(random.integers(0, 9, (PIECE, COLUMNS)).astype(np.float32))
        sides = np.where(np.arange(rows) % 4, Side.TRAIN, Side.VALIDATION).astype(np.int8)
        write_frame(pd.DataFrame({SIDE: sides, TARGET: random.random(rows)}), folder / "rows.parquet")
        return store.publish(KEY, folder, {})


def test_rows_in_files_need_little_memory_however_many_they_are(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", LEARN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peaks = json.loads(done.stdout)
    assert peaks["memory"] > FEATURES
    assert peaks["files"] < FEATURES / 2, peaks
    assert list((tmp_path / "scratch").iterdir()) == []
