"""The rows of several partitions, cleaned as each partition by itself is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from pipeline.model.columns import ColumnType
from pipeline.spec.schema.spec import Spec
from pipeline.steps.clean.repair.partition import Cleaned, clean


def clean_each(
    rows: pd.DataFrame, counts: Sequence[int], spec: Spec, columns: Mapping[str, ColumnType]
) -> tuple[Cleaned, list[int]]:
    """Clean partitions whose rows stand one after the other; return what is left, and how many rows of each.

    Parameters
    ----------
    counts : sequence of int
        Rows of each partition.
    spec, columns
        And errors, as of `clean`.
    """
    if len(counts) == 1 or not _looks_at_other_rows(spec):
        cleaned = clean(rows, spec, columns)
        if len(cleaned.rows) == len(rows):
            return cleaned, list(counts)
        if len(counts) == 1:
            return cleaned, [len(cleaned.rows)]
    ends = np.cumsum(counts)
    parts = [
        clean(rows.iloc[end - number : end].reset_index(drop=True), spec, columns)
        for end, number in zip(ends, counts, strict=True)
    ]
    dropped: Counter[str] = Counter()
    for each in parts:
        dropped.update(each.dropped)
    frame = pd.concat([each.rows for each in parts], ignore_index=True)
    return Cleaned(frame, dict(dropped)), [len(each.rows) for each in parts]


def _looks_at_other_rows(spec: Spec) -> bool:
    """Tell whether what becomes of a row depends on others: none of another partition may count."""
    fills = {rule.fill for rule in spec.clean.missing.values()}
    return spec.clean.duplicates != "keep" or not fills.isdisjoint({"interpolate", "forward_fill"})
