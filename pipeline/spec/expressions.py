"""Expressions over columns: what ``data.derive`` may say, in a subset of Python's syntax.

Nothing is executed here: the text becomes a small tree, which `pipeline.steps.transform` compiles to ONNX.

=============  ======================================================================================
literals       ``15``, ``0.5``, ``'UA'``, ``True``, ``False``
columns        by name; ``column('any name')`` where the name is not a Python identifier
arithmetic     ``+ - * / // % **`` with Python's meaning; ``+`` also joins texts
time           ``a - b`` of two times is a number of seconds; a time ± seconds is a time
comparisons    ``== != < <= > >=``, also chained; texts only ``== !=``; ``in [...]``, ``not in [...]``
logic          ``and``, ``or``, ``not``, ``a if condition else b``
functions      the keys of `FUNCTIONS`
=============  ======================================================================================

A missing value makes the result missing. Only ``isnull`` and ``coalesce`` look behind that, a conditional needs only
its condition and the branch it takes, and ``and`` and ``or`` follow SQL's three-valued logic: ``False and missing`` is
false, ``True or missing`` is true. A result that is not finite (``1 / 0``, ``log(0)``) is missing as well.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, TypeAlias

from pipeline.model.columns import Kind

ResultKind = Literal["number", "flag", "text"]
AnyKind = Literal["number", "flag", "text", "time", "any"]

MAX_LENGTH = 2_000
MAX_DEPTH = 100


class ExpressionError(ValueError):
    """An expression cannot be used.

    Attributes
    ----------
    offset : int
        Characters before the mistake.
    found, expected : str
        What stands there, and what should.
    """

    def __init__(self, offset: int, found: str, expected: str) -> None:
        self.offset, self.found, self.expected = offset, found, expected
        super().__init__(f"character {offset + 1}: found {found}; expected {expected}")


@dataclass(frozen=True)
class Constant:
    """A number, text or flag that is written out."""

    value: float | str | bool
    offset: int


@dataclass(frozen=True)
class Name:
    """A column."""

    name: str
    offset: int


@dataclass(frozen=True)
class Call:
    """An operator or a function (a key of `SIGNATURES`) with its arguments."""

    name: str
    arguments: tuple[Node, ...]
    offset: int


Node: TypeAlias = Constant | Name | Call


@dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes
    ----------
    names : frozenset of str
        The columns it reads.
    kind : {"number", "flag", "text"}
        What it gives as far as the text itself tells; a bare column counts as a number. `kind_of` knows better.
    """

    text: str
    root: Node
    names: frozenset[str]
    kind: ResultKind


@dataclass(frozen=True)
class Signature:
    """What an operator or function takes and gives.

    Attributes
    ----------
    takes : tuple of str
        Kind of each argument, the last one repeated: ``number`` (a flag counts as 0 or 1), ``text``, ``time``,
        ``any``, or ``same`` for any kind that all ``same`` arguments share.
    gives : str
        Kind of the result; ``same`` for that of the ``same`` arguments.
    least, most : int
        Number of arguments.
    """

    takes: tuple[str, ...]
    gives: str
    least: int
    most: int


def _numeric(arguments: int, most: int | None = None) -> Signature:
    return Signature(("number",), "number", arguments, most or arguments)


FUNCTIONS: Mapping[str, Signature] = {
    **dict.fromkeys(("abs", "sqrt", "log", "log1p", "exp", "floor", "ceil", "round"), _numeric(1)),
    **dict.fromkeys(("sign", "sin", "cos", "tanh"), _numeric(1)),
    **dict.fromkeys(("min", "max"), _numeric(2, 50)),
    "clip": _numeric(3),
    "isnull": Signature(("any",), "flag", 1, 1),
    "coalesce": Signature(("same",), "same", 2, 50),
    **dict.fromkeys(("year", "month", "day", "weekday", "hour", "minute"), Signature(("time",), "number", 1, 1)),
}
"""Functions by name. ``round`` goes to the even neighbour, ``weekday`` counts from Monday = 0, times are UTC."""

_ORDERED = Signature(("same",), "flag", 2, 2)
SIGNATURES: Mapping[str, Signature] = {
    **FUNCTIONS,
    **dict.fromkeys(("*", "/", "//", "%", "**"), _numeric(2)),
    "negative": _numeric(1),
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), _ORDERED),
    "in": Signature(("same",), "flag", 2, MAX_LENGTH),
    **dict.fromkeys(("and", "or"), Signature(("number",), "flag", 2, MAX_LENGTH)),
    "not": Signature(("number",), "flag", 1, 1),
    "if": Signature(("number", "same", "same"), "same", 3, 3),
}
"""`FUNCTIONS` and the operators, but for ``+`` and ``-``, which depend on what they stand between."""

_SUMS: Mapping[tuple[str, str, str], AnyKind] = {
    ("+", "number", "number"): "number",
    ("-", "number", "number"): "number",
    ("+", "text", "text"): "text",
    ("-", "time", "time"): "number",
    ("-", "time", "number"): "time",
    ("+", "time", "number"): "time",
    ("+", "number", "time"): "time",
}
_BINARY: Mapping[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
_COMPARE: Mapping[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_FOLDED: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": math.pow,
}
_ADVICE: Mapping[type[ast.AST], str] = {
    ast.Attribute: "a column, a literal or a function without a dot",
    ast.Lambda: "an expression without lambda",
    ast.Subscript: "a column or a literal without an index",
    ast.BitAnd: "`and`",
    ast.BitOr: "`or`",
    ast.BitXor: "`**` for a power or `!=` for a difference",
    ast.Invert: "`not`",
    ast.Is: "`==`, or `isnull(x)`",
    ast.IsNot: "`!=`, or `not isnull(x)`",
}


def parse(text: str) -> Expression:
    """Read an expression.

    Raises
    ------
    ExpressionError
        The text is not Python, goes beyond the subset, is too long or too deep, or mixes kinds that the text alone
        shows to be incompatible.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(MAX_LENGTH, f"{len(text):,} characters", f"at most {MAX_LENGTH:,}")
    root = _Reader(text).read()
    names = frozenset(node.name for node in walk(root) if isinstance(node, Name))
    kind = _infer(root, None)
    return Expression(text, root, names, _result(kind, root) if kind != "any" else "number")


def kind_of(expression: Expression, kinds: Mapping[str, Kind | ResultKind]) -> ResultKind:
    """Tell what an expression gives, given the kinds of its columns.

    Raises
    ------
    ExpressionError
        A name is no column, an operator gets a kind it does not take, or the result is a time.
    """
    return _result(_infer(expression.root, kinds), expression.root)


def walk(node: Node) -> Iterator[Node]:
    """Go through a tree, parents first."""
    yield node
    if isinstance(node, Call):
        for argument in node.arguments:
            yield from walk(argument)


class _Reader:
    """Turns Python's tree of one text into ours, keeping track of positions."""

    def __init__(self, text: str) -> None:
        self.indent = len(text) - len(text.lstrip())
        folded = text if "#" in text else text.replace("\n", " ")  # a comment must not swallow what follows it
        self.line = folded.strip()

    def read(self) -> Node:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self.line, mode="eval")
        except SyntaxError as error:
            inside = error.offset - 1 if error.offset and error.lineno == 1 else len(self.line)
            offset = self.indent + min(inside, len(self.line))
            raise ExpressionError(offset, error.msg, "an expression in Python's syntax") from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise ExpressionError(0, str(error) or "too many levels", "an expression in Python's syntax") from error
        return self.node(tree.body, 1)

    def offset(self, tree: ast.AST) -> int:
        before = self.line.encode()[: getattr(tree, "col_offset", 0)]
        return self.indent + len(before.decode(errors="ignore"))

    def node(self, tree: ast.AST, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise ExpressionError(self.offset(tree), "too many levels", f"at most {MAX_DEPTH} levels of nesting")
        read = self._READERS.get(type(tree))
        if read is None:
            raise self.unknown(tree, tree)
        return read(self, tree, depth)

    def unknown(self, place: ast.AST, tree: ast.AST) -> ExpressionError:
        advice = _ADVICE.get(type(tree), "a column, a literal, an operator or a function")
        return ExpressionError(self.offset(place), f"`{type(tree).__name__}`", advice)

    def constant(self, tree: ast.Constant, _depth: int) -> Node:
        offset, value = self.offset(tree), tree.value
        if isinstance(value, str | bool):
            return Constant(value, offset)
        if isinstance(value, int | float):
            return Constant(_finite(lambda: float(value), offset), offset)
        expected = "`isnull(x)`" if value is None else "a number, text, True or False"
        raise ExpressionError(offset, f"`{value!r}`", expected)

    def name(self, tree: ast.Name, _depth: int) -> Node:
        return Name(tree.id, self.offset(tree))

    def unary(self, tree: ast.UnaryOp, depth: int) -> Node:
        if isinstance(tree.op, ast.Invert):
            raise self.unknown(tree, tree.op)
        operand, offset = self.node(tree.operand, depth + 1), self.offset(tree)
        if isinstance(tree.op, ast.Not):
            return Call("not", (operand,), offset)
        number = _as_number(operand)
        if number is not None:
            return Constant(-number if isinstance(tree.op, ast.USub) else number, offset)
        negative = Call("negative", (operand,), offset)
        return negative if isinstance(tree.op, ast.USub) else Call("negative", (negative,), offset)

    def binary(self, tree: ast.BinOp, depth: int) -> Node:
        name = _BINARY.get(type(tree.op))
        if name is None:
            raise self.unknown(tree, tree.op)
        left, right, offset = self.node(tree.left, depth + 1), self.node(tree.right, depth + 1), self.offset(tree)
        first, second = _as_number(left), _as_number(right)
        if first is not None and second is not None:
            return Constant(_finite(lambda: _FOLDED[name](first, second), offset), offset)
        return Call(name, (left, right), offset)

    def logic(self, tree: ast.BoolOp, depth: int) -> Node:
        name = "and" if isinstance(tree.op, ast.And) else "or"
        return Call(name, tuple(self.node(value, depth + 1) for value in tree.values), self.offset(tree))

    def conditional(self, tree: ast.IfExp, depth: int) -> Node:
        parts = (tree.test, tree.body, tree.orelse)
        return Call("if", tuple(self.node(part, depth + 1) for part in parts), self.offset(tree))

    def comparison(self, tree: ast.Compare, depth: int) -> Node:
        sides = [tree.left, *tree.comparators]
        links = [
            self.link(tree, operator_, left, right, depth)
            for operator_, left, right in zip(tree.ops, sides, sides[1:], strict=False)
        ]
        return links[0] if len(links) == 1 else Call("and", tuple(links), self.offset(tree))

    def link(self, tree: ast.Compare, operator_: ast.cmpop, left: ast.expr, right: ast.expr, depth: int) -> Node:
        offset, first = self.offset(tree), self.node(left, depth + 1)
        if isinstance(operator_, ast.In | ast.NotIn):
            found = Call("in", (first, *self.literals(right, depth)), offset)
            return found if isinstance(operator_, ast.In) else Call("not", (found,), offset)
        name = _COMPARE.get(type(operator_))
        if name is None:
            raise self.unknown(tree, operator_)
        return Call(name, (first, self.node(right, depth + 1)), offset)

    def literals(self, tree: ast.expr, depth: int) -> tuple[Node, ...]:
        if isinstance(tree, ast.List | ast.Tuple | ast.Set) and tree.elts:
            values = tuple(self.node(value, depth + 1) for value in tree.elts)
            if all(isinstance(value, Constant) for value in values):
                return values
        raise ExpressionError(self.offset(tree), "something else after `in`", "a list of literals, `[1, 2]`")

    def call(self, tree: ast.Call, depth: int) -> Node:
        offset = self.offset(tree)
        if isinstance(tree.func, ast.Attribute):  # such as numpy.log(x)
            raise self.unknown_function(offset, ast.unparse(tree.func), tree.func.attr)
        if not isinstance(tree.func, ast.Name):
            raise self.unknown(tree, tree.func)
        if tree.keywords:
            raise ExpressionError(offset, "an argument given by name", "arguments in their order")
        name = tree.func.id
        if name == "column":
            return self.column(tree)
        if name not in FUNCTIONS:
            raise self.unknown_function(offset, name, name)
        return Call(name, tuple(self.node(argument, depth + 1) for argument in tree.args), offset)

    def unknown_function(self, offset: int, written: str, name: str) -> ExpressionError:
        close = get_close_matches(name, FUNCTIONS, n=1)
        expected = f"`{close[0]}`" if close else f"one of {', '.join(sorted(FUNCTIONS))}"
        return ExpressionError(offset, f"the unknown function `{written}`", expected)

    def column(self, tree: ast.Call) -> Node:
        match tree.args:
            case [ast.Constant(value=str() as name)]:
                return Name(name, self.offset(tree))
        raise ExpressionError(self.offset(tree), "`column` of something else", "`column('name')`")

    _READERS: Mapping[type[ast.AST], Callable[..., Node]] = {
        ast.Constant: constant,
        ast.Name: name,
        ast.UnaryOp: unary,
        ast.BinOp: binary,
        ast.BoolOp: logic,
        ast.IfExp: conditional,
        ast.Compare: comparison,
        ast.Call: call,
    }


def _as_number(node: Node) -> float | None:
    is_number = isinstance(node, Constant) and not isinstance(node.value, bool | str)
    return float(node.value) if is_number and isinstance(node, Constant) else None


def _finite(compute: Callable[[], float], offset: int) -> float:
    try:
        value = compute()
    except (ArithmeticError, ValueError) as error:
        raise ExpressionError(offset, f"a constant that has no value ({error})", "a finite number") from error
    if not math.isfinite(value):
        raise ExpressionError(offset, f"the constant {value}", "a finite number")
    return value


def _result(kind: AnyKind, root: Node) -> ResultKind:
    if kind == "time":
        raise ExpressionError(root.offset, "a time as the result", "a number, flag or text, such as `hour(time)`")
    return "number" if kind == "any" else kind


def _infer(node: Node, kinds: Mapping[str, Kind | ResultKind] | None) -> AnyKind:
    """Find a node's kind; with ``kinds`` None, columns fit everywhere."""
    if isinstance(node, Constant):
        return "flag" if isinstance(node.value, bool) else "text" if isinstance(node.value, str) else "number"
    if isinstance(node, Name):
        if kinds is None:
            return "any"
        if node.name not in kinds:
            close = get_close_matches(node.name, kinds, n=1)
            raise ExpressionError(
                node.offset, f"the unknown column `{node.name}`", f"`{close[0]}`" if close else "a column"
            )
        kind = kinds[node.name]
        if kind == "image":
            raise ExpressionError(node.offset, f"the column of images `{node.name}`", "another column")
        return kind
    found = [_infer(argument, kinds) for argument in node.arguments]
    return _sum(node, found) if node.name in "+-" else _apply(node, found)


def _sum(node: Call, found: list[AnyKind]) -> AnyKind:
    first, second = ("number" if kind == "flag" else kind for kind in found)
    results = {
        result
        for (name, left, right), result in _SUMS.items()
        if name == node.name and first in (left, "any") and second in (right, "any")
    }
    if not results:
        raise ExpressionError(node.offset, f"{first} {node.name} {second}", "two numbers, texts or times")
    return results.pop() if len(results) == 1 else "any"


def _apply(node: Call, found: list[AnyKind]) -> AnyKind:
    signature = SIGNATURES[node.name]
    if not signature.least <= len(found) <= signature.most:
        counts = f"{signature.least}" if signature.least == signature.most else f"at least {signature.least}"
        raise ExpressionError(node.offset, f"{len(found)} arguments for `{node.name}`", counts)
    takes = signature.takes + signature.takes[-1:] * (len(found) - len(signature.takes))
    for argument, kind, wanted in zip(node.arguments, found, takes, strict=True):
        if kind not in _ACCEPTED[wanted]:
            raise ExpressionError(argument.offset, f"a {kind} for `{node.name}`", f"a {wanted}")
    shared = _shared(node, [kind for kind, wanted in zip(found, takes, strict=True) if wanted == "same"])
    if node.name in ("<", "<=", ">", ">=") and shared == "text":
        raise ExpressionError(node.offset, f"texts compared by `{node.name}`", "`==`, `!=` or `in`")
    return shared if signature.gives == "same" else _GIVES[signature.gives]


_ACCEPTED: Mapping[str, tuple[str, ...]] = {
    "number": ("number", "flag", "any"),
    "time": ("time", "any"),
    "any": ("number", "flag", "text", "time", "any"),
    "same": ("number", "flag", "text", "time", "any"),
}
_GIVES: Mapping[str, AnyKind] = {"number": "number", "flag": "flag"}


def _shared(node: Call, found: list[AnyKind]) -> AnyKind:
    known = {kind for kind in found if kind != "any"}
    if known == {"number", "flag"}:
        return "number"
    if len(known) > 1:
        raise ExpressionError(node.offset, f"{' and '.join(sorted(known))} in `{node.name}`", "values of one kind")
    return known.pop() if known else "any"
