"""The user's own network, checked before anything runs: its file is parsed and not executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.messages import join, quote

BUILD = "build"
_GIVEN = ("inputs", "outputs")
"""What ``build`` is always called with, in this order."""

Mistake = tuple[str, str, str]
"""The parameter of the trainer that is wrong, what was found and what was expected."""


def find_mistakes(name: str, source: str, arguments: Mapping[str, Any]) -> Iterator[Mistake]:
    """Find what would end the training as soon as the file is run.

    Parameters
    ----------
    name : str
        Of the file.
    arguments : mapping
        What ``build`` is given besides.
    """
    expected = f"a Python file with a function {BUILD}({', '.join(_GIVEN)}, …) that gives a network"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's own file, told when it runs
            module = ast.parse(source, name)
    except (SyntaxError, ValueError) as error:  # a null character
        line, what = getattr(error, "lineno", None) or 1, getattr(error, "msg", None) or str(error)
        yield "module", f"{quote(name)}, whose line {line} is no Python ({what})", expected
        return
    builders = [each for each in module.body if isinstance(each, ast.FunctionDef) and each.name == BUILD]
    if builders:
        yield from _misfits(name, builders[-1], arguments)
    elif not any(_may_bind(each) for each in ast.walk(module)):
        yield "module", f"{quote(name)} without a function {BUILD}", expected


def _may_bind(node: ast.AST) -> bool:
    """Tell whether a piece of code may define ``build`` other than as a plain function, such as by an import."""
    names = {
        *([node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []),
        *([node.asname or node.name] if isinstance(node, ast.alias) else []),
        *([node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []),
    }
    return bool(names & {BUILD, "*"})


def _misfits(name: str, builder: ast.FunctionDef, arguments: Mapping[str, Any]) -> Iterator[Mistake]:
    """Compare the arguments in the spec with those that the function takes."""
    takes, needs = _parameters(builder)
    where = f"{BUILD} in line {builder.lineno} of {quote(name)}"
    if builder.args.kwarg is None and (unknown := [each for each in arguments if each not in takes]):
        taken = join(map(quote, takes)) if takes else f"none besides {join(_GIVEN, 'and')}"
        yield "arguments", f"{join(map(quote, unknown), 'and')}, which {where} does not take", taken
    if lacking := [each for each in needs if each not in arguments]:
        yield "arguments", f"nothing for {join(map(quote, lacking), 'and')} of {where}", "a value, or a default there"


def _parameters(builder: ast.FunctionDef) -> tuple[list[str], list[str]]:
    """List the arguments that a function takes by name besides those it always gets, and which of them are required."""
    given = builder.args
    plain, only = [each.arg for each in given.args], [each.arg for each in given.kwonlyargs]
    rest = plain[max(len(_GIVEN) - len(given.posonlyargs), 0) :]
    free = plain[: len(plain) - len(given.defaults)] if len(given.defaults) < len(plain) else []
    bare = [each for each, value in zip(only, given.kw_defaults, strict=True) if value is None]
    return [*rest, *only], [each for each in rest if each in free] + bare
