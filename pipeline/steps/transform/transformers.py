"""The table of transformers: how columns of numbers become features, all columns of a kind at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.model.graphs import Graph
from pipeline.model.images.rules import owner_of
from pipeline.spec.schema.spec import Spec
from pipeline.spec.schema.transform import ENCODED, WORDED, Transformer
from pipeline.steps.features import Encoding, Feature
from pipeline.steps.transform.columns import Columns
from pipeline.steps.transform.compiling import is_missing
from pipeline.steps.transform.dates import TURNS, Dates

DATE_PARTS = ("year", "month", "weekday", "hour")
"""Parts of a date that has no rule."""
DATE_CYCLES = ("month", "weekday", "hour")
"""Parts of a date that is `cyclic` and names none."""

ENCODINGS: Mapping[str, Encoding] = {
    "category": "one_hot",
    "one_hot": "one_hot",
    "ordinal": "ordinal",
    "frequency": "frequency",
}

_ALLOWED: Mapping[str, tuple[str, ...]] = {
    "number": ("none", "log", "sqrt", "power", "bins", "cyclic", *ENCODINGS),
    "flag": ("none", *ENCODINGS),
    "text": (*ENCODINGS, *WORDED, ENCODED),
    "time": ("none", "date_parts", "cyclic"),
}
_DEFAULTS = {"number": "none", "flag": "none", "text": "one_hot", "time": "date_parts"}


@dataclass(frozen=True)
class Task:
    """One column and its rule; ``period`` is that of a cycle of numbers, ``owner`` the image that it is a part of."""

    column: str
    rule: Transformer
    is_time: bool = False
    period: float | None = None
    owner: str = ""


@dataclass(frozen=True)
class Block:
    """Features side by side in one tensor double[N, len(features)]."""

    value: str
    features: tuple[Feature, ...]


Columnar = Callable[[Sequence[str]], str]
"""Returns the tensor of some columns, side by side."""


def task_of(spec: Spec, known: Columns, column: str) -> Task:
    """Find the rule for a column.

    Raises
    ------
    InputError
        The rule does not suit the column, or lacks a parameter that it needs.
    """
    kind = known.kinds[column]
    rule = spec.transform.get(column) or Transformer.model_validate({"kind": _DEFAULTS[kind]})
    where = f"transform.{column}"
    if rule.kind not in _ALLOWED[kind]:
        raise InputError(f"{where}: found {rule.kind!r} for a {kind}; expected one of {', '.join(_ALLOWED[kind])}")
    if rule.kind == "power" and rule.exponent is None:
        raise InputError(f"{where}: no exponent; expected {{kind: power, exponent: 2}} ({where}.exponent)")
    if rule.kind == "bins" and not rule.edges and not rule.count:
        raise InputError(f"{where}: neither edges nor count; expected one of them ({where}.edges)")
    if rule.kind == "cyclic" and kind == "time" and "year" in (rule.parts or ()):
        raise InputError(f"{where}: a year does not turn; expected one of {', '.join(TURNS)} ({where}.parts)")
    if rule.kind in {*WORDED, ENCODED} and column in known.derived:
        raise InputError(f"{where}: found {rule.kind!r} for a derived column; expected a column of the data ({where})")
    period = _period(spec, column, rule) if rule.kind == "cyclic" and kind != "time" else None
    return Task(column, rule, kind == "time", period, owner_of(column, known.images))


def _period(spec: Spec, column: str, rule: Transformer) -> float:
    if rule.period:
        return rule.period
    contract = spec.data.columns.get(column)
    low, high = (contract.range if contract and contract.range else None) or (None, None)
    if low is None or high is None or high <= low:
        raise InputError(
            f"transform.{column}: the length of a turn is not known; expected a number (transform.{column}.period)"
        )
    return high - low


def apply(graph: Graph, tasks: Sequence[Task], columns: Columnar) -> list[Block]:
    """Add the nodes of all transformers; a group for each kind."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(_group(task), []).append(task)
    return [block for kind, group in groups.items() for block in TRANSFORMERS[kind](graph, group, columns)]


def _group(task: Task) -> str:
    if task.is_time and task.rule.kind == "cyclic":
        return "date_cycles"
    if task.rule.kind == "bins" and not task.rule.edges:
        return "fitted_bins"
    return "category" if task.rule.kind in ENCODINGS else task.rule.kind


def _names(group: Sequence[Task]) -> list[str]:
    return [task.column for task in group]


def _unary(group: Sequence[Task], ending: str) -> tuple[Feature, ...]:
    return tuple(Feature(f"{task.column}_{ending}", task.column, task.rule.kind, from_source=True) for task in group)  # type: ignore[arg-type]


def _none(_graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    return [Block(columns(_names(group)), tuple(Feature(task.column, task.owner or task.column) for task in group))]


def _category(_graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    """Numbers stay numbers: their categories are told apart by value, so no formatting can differ in serving."""
    features = tuple(
        Feature(task.column, task.column, "category", ENCODINGS[task.rule.kind], task.rule.max_categories)
        for task in group
    )
    return [Block(columns(_names(group)), features)]


def _signed(graph: Graph, group: Sequence[Task], columns: Columnar, shape: Callable[[str], str]) -> str:
    # Odd functions, so that logarithm and root are there for negative values too, and keep the order of all.
    value = columns(_names(group))
    return graph.add("Mul", graph.add("Sign", value), shape(graph.add("Abs", value)))


def _log(graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    def shape(size: str) -> str:
        return graph.approximate("Log", graph.add("Add", size, graph.constant([[1.0]])), len(group))

    return [Block(_signed(graph, group, columns, shape), _unary(group, "log"))]


def _sqrt(graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    return [Block(_signed(graph, group, columns, lambda size: graph.add("Sqrt", size)), _unary(group, "sqrt"))]


def _power(graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    blocks = []
    for exponent in sorted({task.rule.exponent or 0.0 for task in group}):
        # A node for each exponent: onnxruntime multiplies where it is 2 or 3 throughout, and calls pow otherwise.
        some = [task for task in group if task.rule.exponent == exponent]
        value = graph.add("Pow", columns(_names(some)), graph.constant([[exponent]]))
        blocks.append(Block(value, _unary(some, "power")))
    return blocks


def _bins(graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    return [Block(_bin(graph, columns([task.column]), task.rule.edges or []), _unary([task], "bin")) for task in group]


def _bin(graph: Graph, value: str, edges: Sequence[float]) -> str:
    """Count the edges at or below the value, as ``numpy.digitize`` does."""
    passed = graph.cast(graph.add("GreaterOrEqual", value, graph.constant([sorted(edges)])), "double")
    index = graph.add("ReduceSum", passed, graph.constant([1], "int64"), keepdims=1)
    # A missing value has passed no edge, and would count as one of the first bin.
    return graph.add("Where", is_missing(graph, value, text=False), graph.constant([[math.nan]]), index)


def _fitted_bins(_graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    features = tuple(Feature(f"{task.column}_bin", task.column, "bins", bins=task.rule.count) for task in group)
    return [Block(columns(_names(group)), features)]


def _turn(graph: Graph, value: str, periods: Sequence[float], columns: Sequence[str]) -> list[Block]:
    angle = graph.add("Mul", value, graph.constant([[2 * math.pi / period for period in periods]]))
    # Before a NUL, which no name of a column holds, stands the column; after it, the part of the date.
    names = [(column.split("\0")[0], column.replace("\0", "_")) for column in columns]
    return [
        Block(
            graph.approximate(operator, angle, len(periods)),
            tuple(Feature(f"{name}_{operator.lower()}", column, "cyclic", from_source=True) for column, name in names),
        )
        for operator in ("Sin", "Cos")
    ]


def _cyclic(graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    return _turn(graph, columns(_names(group)), [task.period or 1.0 for task in group], _names(group))


def _date_parts(graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    blocks = []
    for parts in dict.fromkeys(tuple(task.rule.parts or DATE_PARTS) for task in group):
        some = [task for task in group if tuple(task.rule.parts or DATE_PARTS) == parts]
        dates = Dates(graph, columns(_names(some)))
        for part in dict.fromkeys(parts):
            features = (Feature(f"{task.column}_{part}", task.column, "date_parts", from_source=True) for task in some)
            blocks.append(Block(dates.part(part), tuple(features)))
    return blocks


def _date_cycles(graph: Graph, group: Sequence[Task], columns: Columnar) -> list[Block]:
    blocks: list[Block] = []
    for parts in dict.fromkeys(tuple(task.rule.parts or DATE_CYCLES) for task in group):
        some = _names([task for task in group if tuple(task.rule.parts or DATE_CYCLES) == parts])
        dates = Dates(graph, columns(some))
        unique = list(dict.fromkeys(parts))
        value = graph.join([dates.part(part) for part in unique])
        periods = [TURNS[part] for part in unique for _ in some]
        blocks += _turn(graph, value, periods, [f"{name}\0{part}" for part in unique for name in some])
    return blocks


TRANSFORMERS: Mapping[str, Callable[[Graph, Sequence[Task], Columnar], list[Block]]] = {
    "none": _none,
    "category": _category,
    "log": _log,
    "sqrt": _sqrt,
    "power": _power,
    "bins": _bins,
    "fitted_bins": _fitted_bins,
    "cyclic": _cyclic,
    "date_parts": _date_parts,
    "date_cycles": _date_cycles,
}
