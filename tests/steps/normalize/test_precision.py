"""What 32-bit numbers lose of large ones is measured and said."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.steps.normalize.precision import warn_of_lost_digits

SECONDS = 1.36e9 + np.arange(0.0, 3600.0)


def test_seconds_since_1970_lose_most_of_what_differs() -> None:
    (said,) = warn_of_lost_digits(pd.DataFrame({"at": SECONDS, "x": np.arange(3600.0)}))
    assert said.startswith(
        "'at': the model is given 32-bit numbers, which tell 29 of its 3,600 different values apart;"
    )
    assert said.endswith("(normalize.at: standard)")


def test_large_numbers_far_apart_lose_nothing() -> None:
    assert warn_of_lost_digits(pd.DataFrame({"x": np.arange(0, 1e9, 1e6), "gap": [np.nan] * 1000})) == []
