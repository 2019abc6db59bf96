"""Tiny frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.spec.schema.spec import Spec


@pytest.fixture
def make_spec():
    def make(target="late", **sections):
        sections.setdefault("data", {"derive": {"late": "delay > 15"}})
        return Spec.model_validate({"model": {"name": "m", "target": target}, **sections})

    return make


TYPES = {"month": "int", "dep": "float", "delay": "float", "carrier": "str", "at": "datetime", "late_once": "bool"}


@pytest.fixture
def types():
    return dict(TYPES)


@pytest.fixture
def rows():
    return pd.DataFrame(
        {
            "month": [1.0, 2.0, 12.0, np.nan, 3.0, 3.0],
            "dep": [0.0, 600.0, np.nan, 1800.0, -5.0, np.inf],
            "delay": [20.0, 3.0, 15.0, 40.0, np.nan, 16.0],
            "carrier": pd.array(["UA", "AA", None, "UA", "B6", "UA"], dtype="str"),
            "at": pd.to_datetime(
                [
                    "2013-01-31 05:59:59",
                    None,
                    "2012-02-29 00:00",
                    "1969-12-31 23:59:59",
                    "2000-03-01 12:30",
                    "2024-12-31",
                ],
                format="ISO8601",
            ).astype("datetime64[us]"),
            "late_once": [1.0, 0.0, np.nan, 1.0, 0.0, 0.0],
        }
    )
