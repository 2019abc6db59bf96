"""The column contract: ranges, allowed values, patterns and missing values.

A quick look at whole columns finds the suspect rows; only if there are any, pandera (which takes longer to import
than a clean file takes to read) judges them and names every rule that each one breaks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyarrow import array, string
from pyarrow.compute import match_substring_regex

from pipeline.model.columns import KINDS
from pipeline.spec.patterns import to_re2
from pipeline.spec.schema.spec import Column

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Breach:
    """One value that breaks one rule.

    Attributes
    ----------
    row : int
        Index in the frame.
    key : str
        What sets the rule: ``type``, ``range``, ``allowed``, ``pattern`` or ``nullable``.
    found, expected : str
        The value, and what the rule asks for.
    """

    row: int
    column: str
    key: str
    found: str
    expected: str

    @property
    def rule(self) -> str:
        """The breach as a sentence."""
        return f"{self.column}: found {self.found}; expected {self.expected} (data.columns.{self.column}.{self.key})"


def suspect_rows(frame: pd.DataFrame, columns: Mapping[str, Column]) -> Mask:
    """Find the rows that may break a rule: all that do, and hardly another."""
    suspect = np.zeros(len(frame), dtype=bool)
    for name, rule in columns.items():
        for mask in _look(frame, name, rule):
            suspect |= mask
    return suspect


def _look(frame: pd.DataFrame, name: str, rule: Column) -> list[Mask]:
    return [look(frame[name], rule) for key, look in _LOOKS.items() if _applies(rule, key)]


def find_breaches(frame: pd.DataFrame, columns: Mapping[str, Column]) -> list[Breach]:
    """Find every rule that every row breaks, by pandera's lazy validation.

    Parameters
    ----------
    frame : DataFrame
        Canonical, of suspect rows; what is returned refers to its index.
    """
    import pandera.errors  # takes longer to import than a file without broken rows takes to read
    import pandera.pandas as pa

    ruled = {name: rule for name, rule in columns.items() if any(mask.any() for mask in _look(frame, name, rule))}
    schema = pa.DataFrameSchema(
        {name: pa.Column(checks=_checks(rule), nullable=rule.nullable) for name, rule in ruled.items()}
    )
    try:
        schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as errors:
        cases = errors.failure_cases[["index", "column", "check", "failure_case"]]
        return [_breach(row, column, check, value, ruled) for row, column, check, value in cases.to_numpy()]
    return []


def _breach(row: Any, column: str, check: str, value: Any, columns: Mapping[str, Column]) -> Breach:
    key = "nullable" if check == "not_nullable" else check
    found = "none" if key == "nullable" else _show(value)
    return Breach(int(row), column, key, found, _EXPECTED[key](columns[column]))


def _checks(rule: Column) -> list[Any]:
    import pandera.pandas as pa

    makers: Mapping[str, Callable[[], Any]] = {
        "range": lambda: pa.Check(lambda values: _in_range(values, rule), error="range"),
        "allowed": lambda: pa.Check.isin(_allowed(rule), error="allowed"),
        "pattern": lambda: pa.Check(lambda values: _matches(values, rule), error="pattern"),
    }
    return [make() for key, make in makers.items() if _applies(rule, key)]


def _applies(rule: Column, key: str) -> bool:
    return not rule.nullable if key == "nullable" else getattr(rule, key) is not None


def _in_range(values: pd.Series, rule: Column) -> pd.Series:
    low, high = rule.range or (None, None)
    return values.between(-np.inf if low is None else low, np.inf if high is None else high)


def _matches(values: pd.Series, rule: Column) -> pd.Series:
    codes, texts = pd.factorize(values)
    found = match_substring_regex(array(texts, string()), to_re2(rule.pattern or ""))
    fits = np.append(found.to_numpy(zero_copy_only=False), True)
    return pd.Series(fits[codes], index=values.index)


def _allowed(rule: Column) -> list[Any]:
    return [_CANONICAL[KINDS[rule.type]](value) for value in rule.allowed or ()]


_CANONICAL: Mapping[str, Callable[[Any], Any]] = {"number": float, "text": str, "time": pd.Timestamp}


def _outside(values: pd.Series, rule: Column) -> Mask:
    low, high = rule.range or (None, None)
    numbers = values.to_numpy()
    outside = np.zeros(len(numbers), dtype=bool)
    if low is not None:
        outside |= numbers < low
    if high is not None:
        outside |= numbers > high
    return outside


_LOOKS: Mapping[str, Callable[[pd.Series, Column], Mask]] = {
    "range": _outside,
    "allowed": lambda values, rule: ~(values.isin(_allowed(rule)) | values.isna()).to_numpy(),
    "pattern": lambda values, rule: ~_matches(values, rule).to_numpy(),
    "nullable": lambda values, _: values.isna().to_numpy(),
}

_EXPECTED: Mapping[str, Callable[[Column], str]] = {
    "range": lambda rule: "{} to {}".format(*("any" if each is None else f"{each:g}" for each in rule.range or ())),
    "allowed": lambda rule: "one of " + ", ".join(map(repr, (rule.allowed or [])[:5])),
    "pattern": lambda rule: f"text that matches {rule.pattern!r}",
    "nullable": lambda _: "a value",
}


def _show(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else repr(str(value))[:60]
