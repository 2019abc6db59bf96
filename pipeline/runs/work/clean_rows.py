"""Clean rows as `clean` left them, and the columns that tell of a feature's row which clean row it was."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from pipeline.errors import InputError
from pipeline.model.columns import DTYPES, KINDS
from pipeline.runs.inputs import Inputs
from pipeline.runs.work.files import read_frame

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
    # A column without any value here, and without a declared type, was read as a number.
    types = inputs.chain.columns()
    kinds = {name: kind for name, type_ in types.items() if (kind := KINDS[type_]) != "number"}
    wrong = {name: DTYPES[kind] for name, kind in kinds.items() if name in rows and rows[name].dtype.kind == "f"}
    return rows.astype(wrong)
