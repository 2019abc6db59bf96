"""What every format is parsed to, before types and contract are checked."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import DataError
from pipeline.spec.schema.spec import Data


@dataclass(frozen=True)
class Parsed:
    """The records of one file.

    Attributes
    ----------
    columns : dict
        Wanted column → its values, n each; a declared one may still be text. Whoever converts a column takes it out,
        so that a large file is not in memory twice.
    rows : int
        How many were parsed (n).
    broken : mapping
        Position of a record that could not be parsed, counted from 1 → the rule it broke. These are not in ``columns``.
    texts : callable
        Positions → the raw records at them, by position.
    notes : tuple of str
        What a user may want to know.
    warnings : tuple of str
        What a user must know: choices that may be wrong.
    """

    columns: dict[str, pa.ChunkedArray]
    rows: int
    broken: Mapping[int, str]
    texts: Callable[[Sequence[int]], Mapping[int, str]]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_table(
        cls,
        table: pa.Table,
        broken: Mapping[int, str],
        texts: Callable[[Sequence[int]], Mapping[int, str]],
        notes: tuple[str, ...] = (),
        warnings: tuple[str, ...] = (),
    ) -> Parsed:
        """Take the columns out of a table."""
        columns = dict(zip(table.column_names, table.columns, strict=True))
        return cls(columns, len(table), broken, texts, notes, warnings)


def choose_columns(found: Sequence[str], name: str, data: Data) -> tuple[list[str], tuple[str, ...]]:
    """Decide which of the columns found in a file are read.

    Returns
    -------
    list of str, tuple of str
        The declared columns in the spec's order, but for optional ones that the file lacks, and all other named ones
        where their types are inferred; and notes on what is left out.

    Raises
    ------
    DataError
        If a name occurs twice, a declared column is missing, or there is an extra one where the spec forbids it.
    """
    _refuse_repeated(found, name)
    if not data.columns:
        named = [each for each in found if each]
        return named, (f"{name}: ignored a column without a name",) if len(named) < len(found) else ()
    present = set(found)
    if missing := [each for each, rule in data.columns.items() if each not in present and not rule.optional]:
        raise DataError(_describe_missing(missing, found, name))
    extra = [each for each in found if each not in data.columns]
    if extra and data.extra_columns == "error":
        raise DataError(
            f"read: {name}: found {_count(extra, 'extra column')} {_some(extra)}; "
            "expected only declared ones (data.columns, data.extra_columns)"
        )
    declared = [each for each in data.columns if each in present]
    if data.extra_columns == "infer":
        return [*declared, *filter(None, extra)], ()
    notes = (f"{name}: ignored {_count(extra, 'extra column')} {_some(extra)}",) if extra else ()
    return declared, notes


def _refuse_repeated(found: Sequence[str], name: str) -> None:
    if len(set(found)) == len(found):
        return
    repeated = [each for each, count in Counter(found).items() if count > 1 and each]
    if repeated:
        raise DataError(f"read: {name}: found columns that occur twice: {_some(repeated)}; expected each name once")


def _describe_missing(missing: Sequence[str], found: Sequence[str], name: str) -> str:
    listed = ", ".join(map(repr, missing)) if len(missing) <= 50 else f"{_some(missing)} and others"
    folded = {each.strip().casefold(): each for each in found}
    near = {each: difflib.get_close_matches(each.casefold(), folded, 1) for each in missing[:5]}
    hints = "; ".join(f"{each!r} may be {folded[close[0]]!r}" for each, close in near.items() if close)
    if len(found) == 1 and (other := next((each for each in ";\t|," if each in found[0]), None)):
        hints = f"the fields seem to be separated by {other!r} (data.delimiter)"
    return (
        f"read: {name}: found no column {listed} among {_some(found)}"
        f"{'; ' + hints if hints else ''}; expected every declared column (data.columns)"
    )


def _count(names: Sequence[str], noun: str) -> str:
    return noun if len(names) == 1 else f"{len(names):,} {noun}s"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
