"""Text made uniform: the function of ``pipeline/model/texts.py``, once for each different value of a column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.model.texts import uniform
from pipeline.spec.schema.spec import Text


def make_uniform(rows: pd.DataFrame, rules: Mapping[str, Text]) -> pd.DataFrame:
    """Apply each rule to its column of text; text that becomes empty is missing. Other columns are shared."""
    changed = {
        name: column for name, rule in rules.items() if (column := _uniform_column(rows[name], rule)) is not None
    }
    return rows.assign(**changed) if changed else rows


def _uniform_column(column: pd.Series, rule: Text) -> pd.Series | None:
    """Make one column uniform; None if every value is so already."""
    options = rule.model_dump()
    codes, given = pd.factorize(column)
    texts = [uniform(value, options) or None for value in given]
    if all(text == value for text, value in zip(texts, given, strict=True)):
        return None
    table = pd.array([*texts, None], dtype="str")  # the code of a missing value is -1
    return pd.Series(table[np.asarray(codes)], index=column.index, name=column.name)
