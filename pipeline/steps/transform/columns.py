"""Which columns become features, and which raw ones they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.model.columns import KINDS, ColumnType, Kind
from pipeline.spec.expressions import Expression, ExpressionError, ResultKind, kind_of, parse
from pipeline.spec.image_columns import rules_of
from pipeline.spec.schema.spec import Spec

# A file with another delimiter, or with no first line of names, gives one column with a name as long as a line.
_NAME_CHARS = 60


@dataclass(frozen=True)
class Columns:
    """Raw and derived columns.

    Attributes
    ----------
    raw : mapping of str to {"number", "text", "time", "image"}
        The raw columns in their order.
    images : mapping of str to tuple of str
        Column of images → the columns of numbers that they become.
    derived : mapping of str to Expression
        The derived ones, each after those that it reads.
    kinds : mapping of str to str
        Kind of each column, raw or derived.
    """

    raw: Mapping[str, Kind]
    images: Mapping[str, tuple[str, ...]]
    derived: Mapping[str, Expression]
    kinds: Mapping[str, Kind | ResultKind]

    def is_text(self, name: str) -> bool:
        """Whether a column is text."""
        return self.kinds[name] == "text"

    def origins(self, name: str) -> frozenset[str]:
        """List a column and all columns, raw and derived, that it comes from."""
        expression = self.derived.get(name)
        return frozenset((name,)).union(*map(self.origins, expression.names if expression else ()))


@dataclass(frozen=True)
class Inputs:
    """Raw columns that the features need, in the order of the signature."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]


def columns_of(spec: Spec, columns: Mapping[str, ColumnType]) -> Columns:
    """Read the derived columns and bring them into an order in which they can be computed.

    Raises
    ------
    InputError
        An expression cannot be used, two columns have one name, or columns depend on each other in a circle.
    """
    raw = {name: KINDS[kind] for name, kind in columns.items()}
    waiting = {name: _parse(name, text) for name, text in spec.data.derive.items()}
    if twice := sorted(raw.keys() & waiting.keys()):
        raise InputError(f"data.derive: {twice[0]!r} is a column of the data; expected a new name (data.derive)")
    kinds: dict[str, Kind | ResultKind] = dict(raw)
    derived: dict[str, Expression] = {}
    while waiting:
        ready = [name for name, expression in waiting.items() if not expression.names & waiting.keys()]
        if not ready:
            circle = ", ".join(list(waiting)[:5])
            raise InputError(f"data.derive: {circle} need each other; expected no circle (data.derive)")
        for name in ready:
            derived[name] = waiting.pop(name)
            kinds[name] = _kind(name, derived[name], kinds)
    images = {name: rule.names(name) for name, rule in rules_of(spec.data).items() if name in raw}
    return Columns(raw, images, derived, kinds)


def _parse(name: str, text: str) -> Expression:
    try:
        expression = parse(text)
    except ExpressionError as error:
        raise InputError(f"data.derive.{name}: {error}") from error
    if not expression.names:
        raise InputError(f"data.derive.{name}: found a constant; expected an expression over columns (data.derive)")
    return expression


def _kind(name: str, expression: Expression, kinds: Mapping[str, Kind | ResultKind]) -> ResultKind:
    try:
        return kind_of(expression, kinds)
    except ExpressionError as error:
        raise InputError(f"data.derive.{name}: {error}") from error


def features_of(spec: Spec, known: Columns) -> tuple[str, ...]:
    """Choose the columns that the model sees.

    By default all but the target, the columns it is derived from, other derived columns that read one of those, and
    `features.drop`.

    Raises
    ------
    InputError
        A named column does not exist, the target is among the features, or nothing is left.
    """
    target = spec.model.target
    chosen = spec.features.select or _default(spec, known)
    named = {"model.target": [target] if target else [], "features.select": chosen, "features.drop": spec.features.drop}
    for key, names in named.items():
        for name in names:
            if name not in known.kinds:
                raise InputError(f"{key}: {name!r} is not a column; expected one of {_some(known)} ({key})")
    if target in chosen:
        raise InputError(f"features.select: {target!r} is the target; expected other columns (features.select)")
    if not chosen:
        raise InputError("features: no column is left; expected at least one (features.select, features.drop)")
    return tuple(dict.fromkeys(part for name in chosen for part in known.images.get(name, (name,))))


def _default(spec: Spec, known: Columns) -> list[str]:
    target = spec.model.target
    hidden = known.origins(target) if target in known.kinds and target else frozenset()
    dropped = set(spec.features.drop)
    parts = {part for each in known.images.values() for part in each}
    raw = [name for name in known.raw if name not in hidden | dropped | parts]
    return raw + [name for name in known.derived if name not in dropped and not known.origins(name) & hidden]


def _some(known: Columns) -> str:
    names = [name if len(name) <= _NAME_CHARS else f"{name[:_NAME_CHARS]}…" for name in known.kinds]
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def needed_inputs(known: Columns, names: frozenset[str]) -> Inputs:
    """Find the raw columns behind some columns, in the order of the data's columns; a time is a number."""
    needed = frozenset[str]().union(*map(known.origins, names))
    numbers = tuple(name for name, kind in known.raw.items() if name in needed and kind in {"number", "time"})
    return Inputs(numbers, tuple(name for name, kind in known.raw.items() if name in needed and kind == "text"))
