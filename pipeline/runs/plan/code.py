"""The code that a step runs: which modules, and a digest of what they say, wherever they stand.

A key must change with every line that can change a result, and with nothing else: not with a comment, a docstring or a
blank line, and not with the name of a module, or where it lies. So the digest of a module is that of its text without
these, and a name of a module in it (imported, or in a string that is run by ``python -m``) counts as what that module
says. Everything is read by patterns: `ast` or `tokenize` would take longer than all the rest of a plan.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.home import CHECKOUT

NEUTRAL: Mapping[str, str] = {
    "pipeline.errors": "what is raised leaves no artifact",
    "pipeline.messages": "words for people",
    "pipeline.home": "where files are kept",
    "pipeline.extras": "whether a library is installed; its version is in the recipe",
    "pipeline.spec.schema": "what it holds reaches a recipe as values",
    "pipeline.spec.findings": "what is refused leaves no artifact",
    "pipeline.spec.shipped_programs": "its digests reach a recipe as values",
    "pipeline.spec.placement": "where a step runs",
    "pipeline.delivery.images": "where a step runs",
    "pipeline.delivery.platforms": "where a step runs",
    "pipeline.delivery.releases": "which release is judged against: its digest is an input",
    "pipeline.delivery.stages": "which release is judged against: its digest is an input",
    "pipeline.runs.session": "which artifacts are read; their content is an input",
    "pipeline.runs.dask": "where partitions and trials are computed",
    "pipeline.runs.job": "which commits; the content of the data is an input",
    "pipeline.runs.memory": "how much memory there is, which decides where rows are kept, and nothing else",
    "pipeline.runs.opened_run": "what a run is about; its commits are in the inputs",
    "pipeline.runs.plan": "what runs, not how; it makes the keys themselves",
    "pipeline.runs.pods": "where a step runs",
    "pipeline.runs.results": "what is told of a step",
    "pipeline.runs.inputs": "which artifacts are read; their content is an input",
    "pipeline.runs.tracking": "what is told to MLflow",
    "pipeline.runs.work.table": "which work is whose, and what of a session it is handed",
    "pipeline.runs.work.trials": "where trials are computed",
    "pipeline.runs.work.cluster_workers": "where workers are started",
    "pipeline.storage": "where artifacts and data are kept; their content is an input",
}
"""Modules and packages that the steps import and whose code is in no key → why they cannot change a result."""

_LITERAL = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*"""'
    r"|'''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"'
    r"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'"
    r"|#[^\n]*",
    re.DOTALL,
)
_IMPORT = re.compile(r"^[ \t]*(?:from|import) +(pipeline[\w.]*)(?: +import +(\([^)]*\)|[^\n]*))?[^\n]*", re.MULTILINE)
_NAMED = re.compile(r"\bpipeline(?:\.\w+)+")
_BLANK_LINES = re.compile(r"\n\s*\n")
_STANDS_FOR = "\0"
_DOCSTRING_PREFIXES = ("", "r", "R", "u", "U")


@dataclass(frozen=True)
class Module:
    """What a module says.

    Attributes
    ----------
    text : str
        Digest of its text without comments, docstrings, blank lines and names of modules; "" where nothing is left.
    links : tuple of (str, str)
        Modules below ``pipeline`` that it imports or names, each with what it takes from there.
    """

    text: str
    links: tuple[tuple[str, str], ...]


def code_of(roots: Iterable[str]) -> list[str]:
    """List the modules that some modules of ``pipeline`` consist of, import and start, however indirectly."""
    found: set[str] = set()
    waiting = [name for root in roots for name in _whole(f"pipeline.{root}")]
    while waiting:
        name = waiting.pop()
        if name in found or name == "pipeline" or is_neutral(name) or _file(name) is None:
            continue
        found.add(name)
        waiting.append(name.rpartition(".")[0])  # a package's own module runs before those in it
        waiting += [linked for linked, _ in read_module(name).links]
    return sorted(found)


def _whole(name: str) -> Iterator[str]:
    """Yield a module, or a package with all its modules: it may choose among them by name."""
    yield name
    folder = CHECKOUT.joinpath(*name.split("."))
    for each in folder.rglob("*.py"):
        inside = each.relative_to(CHECKOUT).with_suffix("")
        if (each.parent / "__init__.py").exists():
            yield ".".join(inside.parts).removesuffix(".__init__")


def is_neutral(name: str) -> bool:
    """Tell whether what a module says cannot change a result."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in NEUTRAL for end in range(2, len(parts) + 1))


@cache
def digests_of(roots: tuple[str, ...]) -> Mapping[str, str]:
    """Return a digest of each module that some modules run; none depends on where a module stands.

    Two modules that change what they import from whom differ from before, though each of them says what it said: so
    what a name of a module stands for is digested with the text.
    """
    return {name: digest for name in code_of(roots) if (digest := _linked(name))}


@cache
def _linked(name: str) -> str:
    module = read_module(name)
    links = sorted(f"{'' if is_neutral(link) else read_module(link).text} {taken}" for link, taken in module.links)
    return hashlib.sha256("\n".join([module.text, *links]).encode()).hexdigest() if module.text or links else ""


@cache
def read_module(name: str) -> Module:
    """Read what a module says; nothing where there is none."""
    file = _file(name)
    code, strings = split(file.read_text("utf-8")) if file else ("", [])
    plain, *found = _IMPORT.split(code)
    links = [link for module, names in zip(found[::3], found[1::3], strict=True) for link in _imported(module, names)]
    links += [(each, "") for text in strings if "pipeline." in text for each in _NAMED.findall(text) if _file(each)]
    plain = _BLANK_LINES.sub("\n", "".join([plain, *found[2::3]])).strip()
    said = [_NAMED.sub(_without_place, each) if "pipeline." in each else each for each in (plain, *strings)]
    text = hashlib.sha256("\n".join(said).encode()).hexdigest() if plain else ""
    return Module(text, tuple(links))


def split(source: str) -> tuple[str, list[str]]:
    """Part a module's code from its strings, and leave comments and docstrings out.

    A docstring is a string that is a statement: it begins a line, outside of all brackets. What it documents is told to
    people alone.

    Returns
    -------
    str
        The code, with a mark in place of each string.
    list of str
        The strings, in their order.
    """
    parts, strings, end, depth = [], [], 0, 0
    for match in _LITERAL.finditer(source):
        before, literal = source[end : match.start()], match.group()
        end, depth = match.end(), depth + _opened(before)
        if literal[0] == "#":
            parts.append(before.rstrip(" \t"))
        elif depth == 0 and literal.startswith(('"""', "'''")) and _begins_a_line(source[: match.start()]):
            parts.append(before.rstrip("rRuU"))
        else:
            parts += [before, _STANDS_FOR]
            strings.append(literal)
    return "".join([*parts, source[end:]]), strings


def _begins_a_line(before: str) -> bool:
    rest, _, line = before.rpartition("\n")
    return line.strip(" \t") in _DOCSTRING_PREFIXES and not rest.endswith("\\")


def _opened(code: str) -> int:
    return sum(map(code.count, "([{")) - sum(map(code.count, ")]}"))


def _imported(module: str, names: str) -> list[tuple[str, str]]:
    """Return what an import statement takes, and from which modules."""
    taken = [" ".join(each.split()) for each in names.strip("() \t\n").split(",") if each.strip()]
    inside = [f"{module}.{each.split()[0]}" for each in taken]
    links = [(module, each) for each in taken] or [(module, "")]
    return links + [(each, "") for each in inside if _file(each)]


def _without_place(named: re.Match[str]) -> str:
    return "pipeline" if _file(named.group()) else named.group()


@cache
def _file(name: str) -> Path | None:
    place = f"{CHECKOUT}/{name.replace('.', '/')}"
    candidates = (f"{place}.py", f"{place}/__init__.py")
    return next((Path(each) for each in candidates if os.path.isfile(each)), None)  # noqa: PTH113 - thousands of times
