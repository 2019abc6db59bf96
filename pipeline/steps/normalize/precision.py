"""Numbers whose low digits the matrix cannot hold: it is of float32, which knows 24 binary digits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.messages import quote
from pipeline.spec.schema.spec import Spec
from pipeline.steps.features import Transform, normalize_rule
from pipeline.steps.statistics import Statistics

_EXACT = 2.0**24
_KEPT = 0.9
"""Share of the different values that must stay different."""


def unscaled_features(statistics: Statistics, spec: Spec, transform: Transform) -> list[str]:
    """List the features that reach the matrix as they are, and have values that are too large for it to be exact.

    What is scaled is centred in double precision first, so its low digits stay.
    """
    plain = [each.name for each in transform.features if not each.encoding and normalize_rule(spec, each) == "none"]
    moments = statistics.moments
    largest = {name: max(-moments.low[place], moments.high[place]) for name in plain
               for place in [statistics.place(name)]}  # fmt: skip
    return [name for name, value in largest.items() if _EXACT < value < np.inf]


def warn_of_lost_digits(rows: pd.DataFrame) -> list[str]:
    """Say of which columns float32 keeps fewer different values.

    Parameters
    ----------
    rows : DataFrame of float64
        Columns as they would reach the matrix.
    """
    said = []
    for name in rows.columns:
        values = np.unique(rows[name].dropna().to_numpy())
        with np.errstate(over="ignore"):  # what is too large for the matrix is refused where it is made
            kept = len(np.unique(values.astype(np.float32)))
        if kept < _KEPT * len(values):
            said.append(
                f"{quote(str(name))}: the model is given 32-bit numbers, which tell {kept:,} of its {len(values):,} "
                f"different values apart; scaled, they keep what differs (normalize.{name}: standard)"
            )
    return said
