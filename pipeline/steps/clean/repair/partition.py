"""One partition's rows, cleaned; whatever needs all training data is left to the model's graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.errors import DataError
from pipeline.model.columns import KINDS, ColumnType, Kind
from pipeline.spec.schema.spec import Spec, Text
from pipeline.steps.clean.repair.duplicates import find_duplicates
from pipeline.steps.clean.repair.filling import fill_forward, interpolate
from pipeline.steps.clean.repair.texts import make_uniform
from pipeline.steps.row_hashes import draw, row_hashes

Mask = npt.NDArray[np.bool_]
Rule = TypeVar("Rule")

EVERY = "*"


@dataclass(frozen=True)
class Cleaned:
    """What is left of a partition.

    Attributes
    ----------
    rows : DataFrame
        Canonical, in the order of the input.
    dropped : dict
        Key of the spec, such as ``clean.missing.arr_delay`` → how many rows it dropped; rules that dropped none are
        left out. A row counts for the first rule that drops it.
    """

    rows: pd.DataFrame
    dropped: dict[str, int]


def clean(rows: pd.DataFrame, spec: Spec, columns: Mapping[str, ColumnType]) -> Cleaned:
    """Clean one partition.

    Parameters
    ----------
    rows : DataFrame of n rows
        Canonical; not changed.
    spec : Spec
        Of which ``clean`` and ``data.key`` are used. Rules on names that are no columns here (derived ones) are left
        to later steps, as are imputed constants, means, medians and modes, clipping and fitted outliers.
    columns : mapping
        Column → type. A rule ``"*"`` is for all of these without a rule of their own to which it can apply.

    Notes
    -----
    The order: text made uniform; duplicates; missing values that drop a row; outliers by range that drop it;
    interpolation, then forward fill, from the rows that are left; the sample. So no value is filled from a row that
    is dropped as wrong, and the sample, drawn by the hash of what a row was before it was filled, neither thins out
    what is filled from nor changes when other rows arrive. Nothing crosses the border of a partition.

    Raises
    ------
    DataError
        If a rule names a column whose type it is not for, or a column to go along that does not exist.
    """
    kinds = {name: KINDS[type_] for name, type_ in columns.items() if name in rows.columns}
    left, dropped = _drop(make_uniform(rows, _text_rules(spec, kinds)), spec, kinds)
    filled = _fill(left, spec, kinds)
    sampled = _sample(left, filled, spec)
    if count := len(filled) - len(sampled):
        dropped["clean.sample"] = count
    return Cleaned(sampled, dropped)


def _drop(rows: pd.DataFrame, spec: Spec, kinds: Mapping[str, Kind]) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop by one mask, so that a large frame is copied once, or not at all."""
    left = np.ones(len(rows), dtype=bool)
    dropped: dict[str, int] = {}

    def leave_out(key: str, bad: Mask) -> None:
        if count := int((bad & left).sum()):
            dropped[key] = count
            np.logical_and(left, ~bad, out=left)

    if spec.clean.duplicates != "keep":
        leave_out("clean.duplicates", find_duplicates(rows, spec.clean.duplicates, spec.data.key))
    for name, rule in _spread(spec.clean.missing, kinds).items():
        if rule.fill == "drop":
            leave_out(f"clean.missing.{name}", rows[name].isna().to_numpy())
    for name, outliers in spec.clean.outliers.items():
        if name in kinds and outliers.by == "range" and outliers.action == "drop" and outliers.bounds:
            _expect_number(name, kinds, f"clean.outliers.{name}")
            values = rows[name].to_numpy()
            leave_out(f"clean.outliers.{name}", (values < outliers.bounds[0]) | (values > outliers.bounds[1]))
    return _keep(rows, left), dropped


def _fill(rows: pd.DataFrame, spec: Spec, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """Fill each column from its own values; columns without a missing one are shared."""
    _check_interpolation(spec, kinds)
    filled = {}
    for name, rule in _spread(spec.clean.missing, kinds).items():
        if rule.fill not in ("interpolate", "forward_fill") or not rows[name].hasnans:
            continue
        if rule.fill == "forward_fill":
            filled[name] = fill_forward(rows[name])
        elif name in spec.clean.missing or (kinds[name] == "number" and name != rule.along):
            filled[name] = interpolate(rows[name], None if rule.along is None else rows[rule.along])
    return rows.assign(**filled) if filled else rows


def _sample(before: pd.DataFrame, filled: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    if spec.clean.sample >= 1:
        return filled
    return _keep(filled, draw(row_hashes(before, spec.data.key), "sample") < spec.clean.sample)


def _keep(rows: pd.DataFrame, left: Mask) -> pd.DataFrame:
    return rows if left.all() else rows[left].reset_index(drop=True)


def _spread(rules: Mapping[str, Rule], kinds: Mapping[str, Kind]) -> dict[str, Rule]:
    """Assign each column its own rule, else the rule for every column."""
    return {name: rules[own] for name in kinds if (own := name if name in rules else EVERY) in rules}


def _text_rules(spec: Spec, kinds: Mapping[str, Kind]) -> dict[str, Text]:
    if wrong := next((name for name in spec.clean.text if kinds.get(name, "text") != "text"), None):
        raise DataError(f"clean: {wrong!r} is a {kinds[wrong]}; expected a text (clean.text.{wrong})")
    return {name: rule for name, rule in _spread(spec.clean.text, kinds).items() if kinds[name] == "text"}


def _check_interpolation(spec: Spec, kinds: Mapping[str, Kind]) -> None:
    for name, rule in spec.clean.missing.items():
        if rule.fill != "interpolate" or name not in (*kinds, EVERY):
            continue
        if name != EVERY:
            _expect_number(name, kinds, f"clean.missing.{name}")
        if rule.along is not None and kinds.get(rule.along, "text") == "text":
            found = "a text" if rule.along in kinds else "no column"
            raise DataError(
                f"clean: {rule.along!r} is {found}; expected a column of numbers or times to go along "
                f"(clean.missing.{name}.along)"
            )


def _expect_number(name: str, kinds: Mapping[str, Kind], key: str) -> None:
    if kinds[name] != "number":
        raise DataError(f"clean: {name!r} is a {kinds[name]}; expected a number ({key})")
