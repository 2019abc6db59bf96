"""Expressions as ONNX nodes.

A number is a double with NaN for missing, a text a string with "" for missing. A flag is two booleans, *is true* and
*is false*, of which a missing one is neither: that makes Kleene's three-valued logic a matter of And and Or.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pipeline.model.graphs import Graph
from pipeline.spec.expressions import Call, Constant, Expression, Name, Node
from pipeline.steps.transform.dates import PARTS, Dates


@dataclass(frozen=True)
class Number:
    """A double[N, 1]; times are numbers too."""

    value: str


@dataclass(frozen=True)
class Text:
    """A string[N, 1]."""

    value: str


@dataclass(frozen=True)
class Flag:
    """Two bool[N, 1]."""

    true: str
    false: str


Value: TypeAlias = Number | Text | Flag


def compile_expression(graph: Graph, expression: Expression, columns: Callable[[str], Number | Text]) -> Number | Text:
    """Add the nodes of an expression; a flag becomes 1, 0 or NaN.

    Parameters
    ----------
    columns : callable
        Returns the value of a column.
    """
    value = _Compiler(graph, columns).value(expression.root)
    return Number(as_number(graph, value)) if isinstance(value, Flag) else value


def as_number(graph: Graph, value: Value) -> str:
    """Convert a flag or number to double."""
    if isinstance(value, Flag):
        unless = graph.add("Where", value.false, graph.constant([[0.0]]), graph.constant([[math.nan]]))
        return graph.add("Where", value.true, graph.constant([[1.0]]), unless)
    return value.value


def is_missing(graph: Graph, value: str, *, text: bool) -> str:
    """Tell what is missing: "", NaN or infinite."""
    if text:
        return graph.add("Equal", value, graph.constant([[""]], "string"))
    return graph.add("Or", graph.add("IsNaN", value), graph.add("IsInf", value))


class _Compiler:
    def __init__(self, graph: Graph, columns: Callable[[str], Number | Text]) -> None:
        self.graph, self.columns = graph, columns

    def value(self, node: Node) -> Value:
        if isinstance(node, Name):
            return self.columns(node.name)
        if isinstance(node, Constant):
            return self.constant(node)
        return _OPERATIONS[node.name](self, node)

    def constant(self, node: Constant) -> Value:
        if isinstance(node.value, bool):
            return Flag(*(self.graph.constant([[truth]], "bool") for truth in (node.value, not node.value)))
        if isinstance(node.value, str):
            return Text(self.graph.constant([[node.value]], "string"))
        return Number(self.graph.constant([[node.value]]))

    def number(self, node: Node) -> str:
        return as_number(self.graph, self.value(node))

    def flag(self, node: Node) -> Flag:
        return self.as_flag(self.value(node))

    def as_flag(self, value: Value) -> Flag:
        if isinstance(value, Flag):
            return value
        zero, add = self.graph.constant([[0.0]]), self.graph.add
        # Not ``Not(Equal)``, which is true for NaN: a missing number is neither true nor false.
        return Flag(
            add("Or", add("Less", value.value, zero), add("Greater", value.value, zero)),
            add("Equal", value.value, zero),
        )

    def same(self, nodes: Sequence[Node]) -> tuple[list[str], bool, bool]:
        """Convert values to one kind; return them, whether they are texts and whether they are all flags."""
        values = [self.value(node) for node in nodes]
        is_text, is_flag = isinstance(values[0], Text), all(isinstance(value, Flag) for value in values)
        return [as_number(self.graph, value) for value in values], is_text, is_flag

    def wrap(self, value: str, *, text: bool, flag: bool) -> Value:
        return Text(value) if text else self.as_flag(Number(value)) if flag else Number(value)

    def plain(self, operator: str, node: Call) -> Value:
        return Number(self.graph.add(operator, *map(self.number, node.arguments)))

    def approximate(self, operator: str, node: Call) -> Value:
        return Number(self.graph.approximate(operator, self.number(node.arguments[0]), 1))

    def log1p(self, node: Call) -> Value:
        """Kahan's log1p: log(u) · x / (u − 1) with u = 1 + x, which is precise near 0."""
        add, one, x = self.graph.add, self.graph.constant([[1.0]]), self.number(node.arguments[0])
        u = add("Add", x, one)
        precise = add("Mul", self.graph.approximate("Log", u, 1), add("Div", x, add("Sub", u, one)))
        # Where u is rounded to 1, the logarithm of 1 + x is x; at infinity, x / (u - 1) would be NaN.
        infinite = add("IsInf", u)
        return Number(add("Where", add("Or", add("Equal", u, one), infinite), x, precise))

    def plus(self, node: Call) -> Value:
        left, right = (self.value(argument) for argument in node.arguments)
        if not (isinstance(left, Text) and isinstance(right, Text)):
            return Number(self.graph.add("Add", as_number(self.graph, left), as_number(self.graph, right)))
        both = self.graph.add("StringConcat", left.value, right.value)
        either = self.graph.add("Or", *(is_missing(self.graph, side.value, text=True) for side in (left, right)))
        return Text(self.graph.add("Where", either, self.graph.constant([[""]], "string"), both))

    def rest(self, left: str, right: str) -> str:
        """Python's ``%``: what C's fmod leaves, moved to the divisor's side of 0."""
        add = self.graph.add
        rest = add("Mod", left, right, fmod=1)
        # Signs are multiplied, since a product of tiny numbers can be rounded to 0.
        other_side = add("Less", add("Mul", add("Sign", rest), add("Sign", right)), self.graph.constant([[0.0]]))
        return add("Where", other_side, add("Add", rest, right), rest)

    def power(self, node: Call) -> Value:
        """Raise to a power; C's pow finds 1 for missing ** 0 and 1 ** missing, where here nothing is known."""
        add, (left, right) = self.graph.add, map(self.number, node.arguments)
        missing = add("Or", add("IsNaN", left), add("IsNaN", right))
        return Number(add("Where", missing, self.graph.constant([[math.nan]]), add("Pow", left, right)))

    def modulo(self, node: Call) -> Value:
        return Number(self.rest(*map(self.number, node.arguments)))

    def floor_divide(self, node: Call) -> Value:
        add = self.graph.add
        left, right = map(self.number, node.arguments)
        # As in Python, 1 // 0.1 is 9, although 1 / 0.1 is rounded to 10: without its rest, the division comes out even.
        return Number(add("Round", add("Div", add("Sub", left, self.rest(left, right)), right)))

    def clip(self, node: Call) -> Value:
        value, low, high = map(self.number, node.arguments)
        return Number(self.graph.add("Max", self.graph.add("Min", value, high), low))

    def compare(self, node: Call) -> Value:
        (left, right), is_text, _ = self.same(node.arguments)
        if is_text:
            return self.equal_texts(node.name, left, right)
        # The opposite is compared as well, not negated: with a missing side, both must be false.
        add, (yes, no) = self.graph.add, _COMPARISONS[node.name]
        flag = Flag(add(yes, left, right), add(no, left, right) if no else "")
        if no:
            return flag
        differs = add("Or", add("Less", left, right), add("Greater", left, right))
        return Flag(flag.true, differs) if node.name == "==" else Flag(differs, flag.true)

    def equal_texts(self, name: str, left: str, right: str) -> Flag:
        add = self.graph.add
        known = add("Not", add("Or", *(is_missing(self.graph, side, text=True) for side in (left, right))))
        equal = add("Equal", left, right)
        flag = Flag(add("And", equal, known), add("And", add("Not", equal), known))
        return flag if name == "==" else Flag(flag.false, flag.true)

    def contained(self, node: Call) -> Value:
        add, (first, *literals) = self.graph.add, node.arguments
        value = self.value(first)
        is_text = isinstance(value, Text)
        allowed = [literal.value for literal in literals if isinstance(literal, Constant) and literal.value != ""]
        if not is_text:
            allowed = [float(literal) for literal in allowed]
        known = add("Not", is_missing(self.graph, as_number(self.graph, value), text=is_text))
        if not allowed:  # false in every row that is known; a constant would have one row
            return Flag(add("And", known, add("Not", known)), known)
        row = self.graph.constant([allowed], "string" if is_text else "double")
        hits = self.graph.cast(add("Equal", as_number(self.graph, value), row), "float")
        most = add("ReduceMax", hits, self.graph.constant([1], "int64"), keepdims=1)
        found = self.graph.cast(most, "bool")
        return Flag(found, add("And", known, add("Not", found)))

    def logic(self, node: Call) -> Value:
        yes, no = ("And", "Or") if node.name == "and" else ("Or", "And")
        result, *others = map(self.flag, node.arguments)
        for other in others:
            result = Flag(self.graph.add(yes, result.true, other.true), self.graph.add(no, result.false, other.false))
        return result

    def negate(self, node: Call) -> Value:
        flag = self.flag(node.arguments[0])
        return Flag(flag.false, flag.true)

    def choose(self, node: Call) -> Value:
        condition = self.flag(node.arguments[0])
        (first, second), is_text, is_flag = self.same(node.arguments[1:])
        nothing = self.graph.constant([[""]], "string") if is_text else self.graph.constant([[math.nan]])
        other = self.graph.add("Where", condition.false, second, nothing)
        return self.wrap(self.graph.add("Where", condition.true, first, other), text=is_text, flag=is_flag)

    def null(self, node: Call) -> Value:
        value = self.value(node.arguments[0])
        if isinstance(value, Flag):
            known = self.graph.add("Or", value.true, value.false)
            return Flag(self.graph.add("Not", known), known)
        missing = is_missing(self.graph, value.value, text=isinstance(value, Text))
        return Flag(missing, self.graph.add("Not", missing))

    def coalesce(self, node: Call) -> Value:
        values, is_text, is_flag = self.same(node.arguments)
        result = values[-1]
        for value in reversed(values[:-1]):  # the first value that is there must be the outermost choice
            result = self.graph.add("Where", is_missing(self.graph, value, text=is_text), result, value)
        return self.wrap(result, text=is_text, flag=is_flag)

    def date_part(self, node: Call) -> Value:
        return Number(Dates(self.graph, self.number(node.arguments[0])).part(node.name))


_COMPARISONS: Mapping[str, tuple[str, str]] = {
    "<": ("Less", "GreaterOrEqual"),
    "<=": ("LessOrEqual", "Greater"),
    ">": ("Greater", "LessOrEqual"),
    ">=": ("GreaterOrEqual", "Less"),
    "==": ("Equal", ""),
    "!=": ("Equal", ""),
}
# IEEE 754 says what each of these gives, to the last bit; "Round" goes to the even neighbour, as in Python.
_PLAIN = {
    "-": "Sub", "*": "Mul", "/": "Div", "negative": "Neg", "abs": "Abs", "sqrt": "Sqrt", "sign": "Sign",
    "floor": "Floor", "ceil": "Ceil", "round": "Round", "min": "Min", "max": "Max",
}  # fmt: skip
# A library may round these as it likes: see `Graph.approximate`.
_APPROXIMATE = {"log": "Log", "exp": "Exp", "sin": "Sin", "cos": "Cos", "tanh": "Tanh"}


def _plain(operator: str) -> Callable[[_Compiler, Call], Value]:
    return lambda compiler, node: compiler.plain(operator, node)


def _approximate(operator: str) -> Callable[[_Compiler, Call], Value]:
    return lambda compiler, node: compiler.approximate(operator, node)


_OPERATIONS: Mapping[str, Callable[[_Compiler, Call], Value]] = {
    **{name: _plain(operator) for name, operator in _PLAIN.items()},
    **{name: _approximate(operator) for name, operator in _APPROXIMATE.items()},
    **dict.fromkeys(_COMPARISONS, _Compiler.compare),
    **dict.fromkeys(("and", "or"), _Compiler.logic),
    **dict.fromkeys(set(PARTS) - {"yearday"}, _Compiler.date_part),
    "+": _Compiler.plus,
    "**": _Compiler.power,
    "//": _Compiler.floor_divide,
    "%": _Compiler.modulo,
    "log1p": _Compiler.log1p,
    "clip": _Compiler.clip,
    "in": _Compiler.contained,
    "not": _Compiler.negate,
    "if": _Compiler.choose,
    "isnull": _Compiler.null,
    "coalesce": _Compiler.coalesce,
}
