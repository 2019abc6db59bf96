"""The rows that a model learns from: in memory, or in files where they are many and the trainer takes them so."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pipeline.features import TARGET
from pipeline.frames import Side
from pipeline.store import Artifact
from pipeline.training.mapping import map_rows
from pipeline.training.results import Matrix
from pipeline.work.features import SIDE
from pipeline.work.files import in_memory, matrix_bytes, read_frame, read_matrix

MAPPED_BYTES = 256 * 2**20
"""Of the features above which they are kept in files; below, in memory, they are a little quicker at hand."""


def read_rows(normalized: Artifact, folder: Path | None) -> Matrix:
    """Read what `normalize` has made, for training.

    Parameters
    ----------
    folder : Path or None
        Where the rows may be kept in files; None for a trainer that needs them in memory.
    """
    path = normalized.file("matrix.parquet")
    rows = read_frame(normalized.file("rows.parquet"), [SIDE, TARGET])
    sides, target = rows[SIDE].to_numpy(), rows[TARGET].to_numpy()
    training, validating = sides == Side.TRAIN, sides == Side.VALIDATION
    make = partial(map_rows, folder=folder) if folder and matrix_bytes(path) > MAPPED_BYTES else in_memory
    (train, validation), names = read_matrix(path, training, validating, make=make)
    return Matrix(train, target[training], validation, target[validating], names)
