"""The rows that a model learns from: in memory, or in files where they are many and the trainer takes them so."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import TrainingError
from pipeline.model.columns import Side
from pipeline.runs.work.clean_rows import SIDE
from pipeline.runs.work.files import read_frame
from pipeline.runs.work.matrix_files import in_memory, matrix_bytes, read_matrix
from pipeline.spec.catalogue.trainers import TRAINERS, held_bytes
from pipeline.steps.features import TARGET
from pipeline.steps.train.mapping import map_rows
from pipeline.steps.train.results import Matrix
from pipeline.storage.artifacts import Artifact

_SINGLE = 4
_SHARE = 0.25
"""Of the free memory that features may take: learning takes some as well, and others run beside."""
MAPPED_BYTES = 256 * 2**20
"""Of the features above which they are kept in files, where nobody knows how much memory there is."""


def read_rows(normalized: Artifact, trainer: str, params: Mapping[str, Any], folder: Path, free: int | None) -> Matrix:
    """Read what `normalize` has made, for training.

    Parameters
    ----------
    trainer : str
        Key of `TRAINERS`.
    params : mapping
        Its parameters.
    folder : Path
        Where the rows may be kept in files.
    free : int or None
        Bytes of memory that there are; None if nobody knows. What is learnt does not depend on it.

    Raises
    ------
    TrainingError
        The trainer needs more memory than there is.
    """
    path = normalized.file("matrix.parquet")
    rows = read_frame(normalized.file("rows.parquet"), [SIDE, TARGET])
    sides, target = rows[SIDE].to_numpy(), rows[TARGET].to_numpy()
    training, validating = sides == Side.TRAIN, sides == Side.VALIDATION
    size = int(matrix_bytes(path) * np.mean(training | validating)) if len(rows) else 0
    make = partial(map_rows, folder=folder) if is_mapped(size, trainer, params, free) else in_memory
    (train, validation), names = read_matrix(path, training, validating, make=make)
    return Matrix(train, target[training], validation, target[validating], names)


def is_mapped(size: int, trainer: str, params: Mapping[str, Any], free: int | None) -> bool:
    """Decide whether features of so many bytes are kept in files; arguments are as for `read_rows`.

    Raises
    ------
    TrainingError
        They do not fit into memory, where the trainer needs them.
    """
    held = held_bytes(trainer, params)
    needed = size * held // _SINGLE
    if free is not None and needed > free:
        able = ", ".join(name for name, each in TRAINERS.items() if each.held < held)
        raise TrainingError(
            f"train: found {size / 1e9:.1f} GB of features for {trainer}, which holds {needed / 1e9:.1f} GB of memory "
            f"for them, and {free / 1e9:.1f} GB free; expected as much (of a pod: run.train.memory), or a trainer that "
            f"holds less (model.trainer: {able})"
        )
    return held < _SINGLE and size > (MAPPED_BYTES if free is None else free * _SHARE)
