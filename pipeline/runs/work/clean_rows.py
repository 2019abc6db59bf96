"""Clean rows as `clean` left them, and the columns that tell of a feature's row which clean row it was."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from pipeline.errors import InputError
from pipeline.runs.inputs import Inputs
from pipeline.runs.work.files import read_frame
from pipeline.steps.column_types import convert_valueless

SIDE = "(side)"
POSITION = "(position)"
IDENTITY = "(identity)"
PARTITION = "(partition)"


def clean_rows(inputs: Inputs, partition: str | None, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Read the clean rows of a partition or pack, or some of their columns, of the types that all agreed on."""
    node = inputs.chain.node("clean", partition)
    if node.artifact is None:
        raise InputError(f"partition {partition}: found no clean rows; expected the step 'clean' to have run")
    rows = read_frame(node.artifact.file("rows.parquet"), None if columns is None else list(columns))
    return convert_valueless(rows, inputs.chain.columns())
