"""A table with everything in it: numbers with gaps, categories of text and of numbers, dates."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from pipeline.spec.schema.spec import Spec
from pipeline.steps.normalize import normalize
from pipeline.steps.transform import compile_target, compile_transform, transform

TYPES = {"x": "float", "y": "float", "month": "int", "carrier": "str", "at": "datetime", "goal": "float"}


@pytest.fixture(scope="session")
def rows():
    random = np.random.default_rng(7)
    n = 3_000
    carriers = np.array(["UA", "AA", "B6", "DL", "é", None], dtype=object)
    frame = pd.DataFrame(
        {
            "x": random.lognormal(3, 1, n).round(2),
            "y": random.normal(1e6, 1, n),
            "month": random.integers(1, 13, n).astype(float),
            "carrier": pd.array(carriers[random.choice(6, n, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])], dtype="str"),
            "at": pd.Timestamp("2013-01-01") + pd.to_timedelta(random.integers(0, 31_536_000, n), unit="s"),
            "goal": random.normal(size=n),
        }
    )
    frame["at"] = frame["at"].astype("datetime64[us]")
    for name in ("x", "y", "month", "at"):
        frame.loc[random.random(n) < 0.1, name] = np.nan
    return frame


@pytest.fixture(scope="session")
def run_steps():
    """Transform in partitions; give the spec, the compiled transform and the parts."""

    def steps(rows, partitions=4, sides=None, types=None, **sections):
        spec = Spec.model_validate({"model": {"name": "m", "target": "goal"}, **sections})
        types = types or TYPES
        compiled, target = compile_transform(spec, types), compile_target(spec, types)
        sides = np.zeros(len(rows), dtype=np.int8) if sides is None else sides
        bounds = np.linspace(0, len(rows), partitions + 1).astype(int)
        parts = [transform(rows.iloc[a:b], sides[a:b], spec, compiled, target) for a, b in pairwise(bounds)]
        return spec, compiled, parts

    return steps


@pytest.fixture(scope="session")
def matrix_of():
    """Normalize frames and put their matrices together."""
    return lambda frames, preprocessing: np.concatenate([*normalize(frames, preprocessing)])
