"""Vectors of texts that `transform` has computed, so that `evaluate` need not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.model.columns import Side
from pipeline.model.sentences import Sentences
from pipeline.runs.inputs import Inputs
from pipeline.runs.work.clean_rows import POSITION, SIDE, clean_rows
from pipeline.runs.work.files import read_frame


def known_vectors(inputs: Inputs, sentences: Sequence[Sentences]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the vectors of the test rows' texts."""
    known: dict[str, npt.NDArray[np.float32]] = {}
    made = [(node.partition, node.artifact) for node in inputs.chain.nodes("transform") if node.artifact]
    for each in sentences:
        for partition, artifact in made:
            frame = read_frame(artifact.file("features.parquet"), [SIDE, POSITION, *each.columns])
            frame = frame[frame[SIDE] == Side.TEST]
            texts = clean_rows(inputs, partition, [each.column])[each.column].fillna("")
            vectors = frame[list(each.columns)].to_numpy(dtype=np.float32)
            known |= dict(zip(texts.iloc[frame[POSITION].to_numpy()].tolist(), vectors, strict=True))
    return known
