from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.steps.train.results import Matrix

COLUMNS = ("a", "b", "c", "d")


def make_matrix(kind: str, rows: int = 240, seed: int = 1, *, digits: int = 1, missing: bool = False) -> Matrix:
    """Rows with coarse features (so that many lie at thresholds), and a target of the kind."""
    generator = np.random.default_rng(seed)
    features = np.round(generator.normal(size=(rows, 4)), digits).astype(np.float32)
    signal = features[:, 0] * 2 - features[:, 1] + 0.5 * features[:, 2] ** 2 + generator.normal(size=rows) * 0.3
    target = {
        "values": signal.astype(np.float64),
        "flag": (signal > 0).astype(np.float64),
        "texts": np.array(["low", "mid", "high", "top"], dtype=object)[np.digitize(signal, [-1, 0.5, 2])],
    }[kind]
    if missing:
        features[generator.random(features.shape) < 0.1] = np.nan
    cut = rows * 3 // 4
    return Matrix(features[:cut], target[:cut], features[cut:], target[cut:], COLUMNS)


@pytest.fixture
def matrix() -> Callable[..., Matrix]:
    return make_matrix
