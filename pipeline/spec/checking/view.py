"""What is known about the columns of a spec before any data are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.messages import describe, examples, quote, suggest
from pipeline.model.columns import KINDS, ColumnType, Kind
from pipeline.spec.catalogue.trainers import TRAINERS, TrainerInfo
from pipeline.spec.expressions import Expression, ExpressionError, ResultKind, kind_of, parse
from pipeline.spec.findings import Finding, KeyPath, Place
from pipeline.spec.schema.spec import Spec

NUMERIC: frozenset[ColumnType] = frozenset({"float", "int"})
EVERY = "*"

_TYPE_OF_RESULT: Mapping[str, ColumnType] = {"number": "float", "flag": "bool", "text": "str"}


@dataclass(frozen=True)
class View:
    """A spec, seen by its columns.

    Attributes
    ----------
    types : mapping
        Column → type, of declared and derived columns, where it is known.
    expressions : mapping
        Derived column → expression, of those that can be read.
    target_sources : frozenset of str
        The target, and every column that it is derived from.
    """

    spec: Spec
    types: Mapping[str, ColumnType]
    expressions: Mapping[str, Expression]
    target_sources: frozenset[str]

    @property
    def declared(self) -> bool:
        """Whether the spec lists all columns; otherwise any name may be one."""
        return self.spec.data.is_complete

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that the spec knows, derived ones last."""
        return (*self.spec.data.columns, *self.spec.data.derive)

    @cached_property
    def trainer(self) -> TrainerInfo | None:
        """What the trainer can do; None if there is no such trainer."""
        return TRAINERS.get(self.spec.model.trainer or "")

    def features(self) -> tuple[str, ...]:
        """List the columns that the model sees, as far as the spec tells."""
        if self.spec.features.select is not None:
            return tuple(self.spec.features.select)
        left_out = {*self.spec.features.drop, *self.target_sources}
        return tuple(name for name in self.names if name not in left_out)

    def sources(self, name: str) -> frozenset[str]:
        """List a column and every column that it is derived from."""
        return _sources(name, self.expressions)

    def type_of(self, name: str) -> ColumnType | None:
        """Find a column's type, None if it is not known."""
        return self.types.get(name)

    def knows(self, name: str) -> bool:
        """Whether a name may be a column."""
        return not self.declared or name in self.names

    def missing_column(self, path: KeyPath, name: str, *, derived: bool = True, offset: int = 0) -> Iterator[Finding]:
        """Report a name that is no column.

        Parameters
        ----------
        derived : bool
            Whether a derived column will do.
        """
        at: Place = "key" if path[-1] == name and path[-2] != "derive" else "value"
        if name in self.spec.data.columns:
            return
        if name in self.spec.data.derive:
            if not derived:
                expected = "a column of the data, since this is needed before columns are derived"
                yield Finding(path, f"the derived column {quote(name)}", expected, at)
        elif self.declared:
            names = self.names if derived else tuple(self.spec.data.columns)
            where = "data.columns or data.derive" if derived else "data.columns"
            expected = suggest(name, names, f"a column of {where} ({examples(names)})")
            found = f"the unknown column {quote(name)}" if name else describe(name)
            yield Finding(path, found, expected, at, offset)


def view_of(spec: Spec) -> View:
    """Gather what is known about a spec's columns."""
    expressions = dict(_parsed(spec.data.derive.items()))
    target = spec.model.target
    sources = frozenset[str]() if target is None else _sources(target, expressions)
    return View(spec, _types(spec, expressions), expressions, sources)


def _parsed(derive: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Expression]]:
    for name, text in derive:
        try:
            yield name, parse(text)
        except ExpressionError:  # reported by check_derived
            continue


def _types(spec: Spec, expressions: Mapping[str, Expression]) -> dict[str, ColumnType]:
    types = {name: column.type for name, column in spec.data.columns.items()}
    for name, expression in expressions.items():
        try:
            types[name] = _TYPE_OF_RESULT[kind_of(expression, kinds(types))]
        except ExpressionError:  # an unknown column or a wrong kind: reported by check_derived
            if not spec.data.is_complete and expression.kind != "number":
                types[name] = _TYPE_OF_RESULT[expression.kind]
    return types


def kinds(types: Mapping[str, ColumnType]) -> dict[str, Kind | ResultKind]:
    """List the kind that each column has in an expression."""
    return {name: "flag" if type_ == "bool" else KINDS[type_] for name, type_ in types.items()}


def _sources(name: str, expressions: Mapping[str, Expression]) -> frozenset[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting.extend(expressions[each].names if each in expressions else ())
    return frozenset(found)
