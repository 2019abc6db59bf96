"""YAML 1.2 files as plain data, with the position of every key and value.

The scanner and parser are other people's (`events`); the tree is built here, since a spec takes less than YAML gives:
no anchors, tags, merge keys or repeated keys. So nothing can be said twice, and nothing grows while it is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pipeline.answers import remembered
from pipeline.errors import Problem
from pipeline.messages import quote
from pipeline.spec.files import UnreadableError, decode, read_bytes
from pipeline.spec.findings import KeyPath
from pipeline.spec.loading.events import parse

MOST_VALUES: Final = 60_000
MOST_LEVELS: Final = 32
_MOST_DIGITS: Final = 18

_MAPPING = "a mapping, such as `model: {name: my-model}`"


@dataclass(frozen=True)
class Mark:
    """A place in a file, counted from 1.

    Attributes
    ----------
    lead : int or None
        Columns from here to the first character of a text; None if the text isn't written on one line as it is.
    """

    file: str
    line: int
    column: int
    lead: int | None = None


@dataclass(frozen=True)
class Document:
    """What one file says.

    Attributes
    ----------
    data : dict or None
        The mapping at the top; None if the file can't be read as one.
    keys, values : mapping from path to Mark
        Where each key and each value is written.
    problems : tuple of Problem
        What is wrong with it as YAML.
    refused : frozenset of paths
        Entries that have a stand-in in ``data``, since a problem is about the value that the file has.
    """

    file: str
    text: str
    data: dict[str, Any] | None
    keys: Mapping[KeyPath, Mark] = field(default_factory=dict)
    values: Mapping[KeyPath, Mark] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    refused: frozenset[KeyPath] = frozenset()


@dataclass
class _Reading:
    """What is known while a file is read."""

    file: str
    events: Iterator[Any]
    keys: dict[KeyPath, Mark] = field(default_factory=dict)
    values: dict[KeyPath, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[KeyPath] = field(default_factory=set)
    n_values: int = 0

    def report(self, event: Any, path: KeyPath, found: str, expected: str) -> None:
        mark = _mark(self.file, event)
        self.problems.append(Problem(self.file, mark.line, mark.column, dotted(path), found, expected))

    def stand_in(self, path: KeyPath, value: Any) -> Any:
        """Return a value instead of the one that was reported, and note that nothing is to be said about it."""
        self.refused.add(path)
        return value


def dotted(path: KeyPath) -> str:
    """Write a path as messages do: ``data.columns.x``."""
    return ".".join(map(str, path))


def read_document(path: Path) -> Document:
    """Read one YAML file.

    Raises
    ------
    FileError
        There is no file at this path, or it cannot be opened.
    """
    file, content = str(path), read_bytes(path)
    return remembered(("document", file, content), lambda: _read_document(file, content))


def _read_document(file: str, content: bytes) -> Document:
    text = ""
    try:
        text = decode(content)
        return replace(_compose(file, text), text=text)
    except UnreadableError as error:
        problem = Problem(file, error.line, error.column, "", error.found, error.expected)
        return Document(file, text, None, problems=(problem,))


def _compose(file: str, text: str) -> Document:
    """Build the tree of the only document in ``text``."""
    reading = _Reading(file, parse(text))
    data = _read_stream(reading)
    return Document(file, text, data, reading.keys, reading.values, tuple(reading.problems), frozenset(reading.refused))


def _is(event: Any, *kinds: str) -> bool:
    """Tell whether an event is of one of some kinds, by the name that its class has in every library."""
    return type(event).__name__.removesuffix("Event") in kinds


def _read_stream(reading: _Reading) -> dict[str, Any] | None:
    next(reading.events)
    start = next(reading.events)
    if not _is(start, "DocumentStart"):
        raise UnreadableError(1, 1, "an empty file", _MAPPING)
    _refuse_directives(reading, start)
    first = next(reading.events)
    data = _read_value(reading, first, (), 0)
    next(reading.events)
    after = next(reading.events)
    if _is(after, "DocumentStart"):
        reading.report(after, (), "a second document", "one spec a file (without a line `---` between)")
    if isinstance(data, dict):
        return data
    found = "an empty file" if data is None else "a list" if isinstance(data, list) else "a single value"
    reading.report(first, (), found, _MAPPING)
    return None


def _refuse_directives(reading: _Reading, start: Any) -> None:
    version = getattr(start, "version", None)
    if version and tuple(version) != (1, 2):
        reading.report(
            start, (), f"a directive for YAML {'.'.join(map(str, version))}", "YAML 1.2, without a directive"
        )


def _read_value(reading: _Reading, event: Any, path: KeyPath, level: int) -> Any:
    _refuse_excess(reading, event, level)
    reading.values[path] = _mark(reading.file, event)
    _refuse_extras(reading, event, path)
    if _is(event, "MappingStart"):
        return _read_mapping(reading, path, level)
    if _is(event, "SequenceStart"):
        return _read_list(reading, path, level)
    return reading.stand_in(path, None) if _is(event, "Alias") else _read_scalar(reading, event, path)


def _refuse_excess(reading: _Reading, event: Any, level: int) -> None:
    reading.n_values += 1
    mark = event.start_mark
    if reading.n_values > MOST_VALUES:
        raise UnreadableError(mark.line + 1, mark.column + 1, f"more than {MOST_VALUES} values", "a smaller spec")
    if level > MOST_LEVELS:
        raise UnreadableError(mark.line + 1, mark.column + 1, f"more than {MOST_LEVELS} levels", "a flatter spec")


def _refuse_extras(reading: _Reading, event: Any, path: KeyPath) -> None:
    if _is(event, "Alias"):
        expected = "the value itself (quoted, if it is a text that starts with `*`)"
        reading.report(event, path, f"an alias, *{event.anchor}", expected)
    elif event.anchor:
        expected = "the value alone (quoted, if it is a text that starts with `&`)"
        reading.report(event, path, f"an anchor, &{event.anchor}", expected)
    if getattr(event, "tag", None):
        expected = "the value alone (in quotes to make it a text)"
        reading.report(event, path, f"a tag, {quote(str(event.tag))}", expected)


def _read_list(reading: _Reading, path: KeyPath, level: int) -> list[Any]:
    items: list[Any] = []
    while not _is(event := next(reading.events), "SequenceEnd"):
        items.append(_read_value(reading, event, (*path, len(items)), level + 1))
    return items


def _read_mapping(reading: _Reading, path: KeyPath, level: int) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    while not _is(event := next(reading.events), "MappingEnd"):
        key = _read_key(reading, event, path, level)
        inner = (*path, key)
        if key not in entries:
            reading.keys[inner] = _mark(reading.file, event)
            entries[key] = _read_value(reading, next(reading.events), inner, level + 1)
            continue
        first = reading.keys[inner]
        found = f"the key {quote(key)} a second time (first in line {first.line})"
        reading.report(event, inner, found, "each key once")
        _read_unused(reading, inner, level)
    return entries


def _read_key(reading: _Reading, event: Any, path: KeyPath, level: int) -> str:
    """Read a key, which is always text: a column or class may be called ``no`` or ``2013``."""
    _refuse_extras(reading, event, path)
    if _is(event, "Scalar"):
        if event.value == "<<" and not event.style:
            reading.report(event, path, "a merge key, <<", "the keys themselves")
            return str(reading.stand_in((*path, "<<"), "<<"))
        return _read_text(reading, event, path)
    if not _is(event, "Alias"):
        reading.report(event, path, "a list or mapping as a key", "a text as key")
        _skip(reading, level)
    return str(reading.stand_in((*path, ""), ""))


def _read_unused(reading: _Reading, path: KeyPath, level: int) -> None:
    """Read a value for its problems alone."""
    unused = replace(reading, keys={}, values={}, refused=set())
    _read_value(unused, next(reading.events), path, level + 1)
    reading.n_values = unused.n_values


def _skip(reading: _Reading, level: int) -> None:
    """Pass over the rest of a list or mapping that has just begun."""
    depth = 1
    while depth:
        event = next(reading.events)
        depth += _is(event, "MappingStart", "SequenceStart")
        depth -= _is(event, "MappingEnd", "SequenceEnd")
        _refuse_excess(reading, event, level + depth)


def _mark(file: str, event: Any) -> Mark:
    start, end = event.start_mark, event.end_mark
    lead = None
    if _is(event, "Scalar") and event.style not in {"|", ">"} and start.line == end.line:
        lead = 1 if event.style else 0
    return Mark(file, start.line + 1, start.column + 1, lead)


# The core schema of YAML 1.2 (section 10.3.2); unlike 1.1, `no`, `on`, `1_000`, `12:30` and `2013-01-01` are texts.
_PLAIN: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text, 0)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text, 0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda _: math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: math.nan),
)


def _read_text(reading: _Reading, event: Any, path: KeyPath) -> str:
    """Read a scalar's text; escapes can make characters that no file may hold."""
    # JSON writes characters beyond the first plane as two escapes.
    text = str(event.value).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if "\0" in text or "\ufffd" in text:
        reading.report(event, path, "an escape that makes no character of a text", "a text without it")
    return text


def _read_scalar(reading: _Reading, event: Any, path: KeyPath) -> Any:
    text = _read_text(reading, event, path)
    if event.style:
        return text
    convert = next((convert for pattern, convert in _PLAIN if pattern.fullmatch(text)), str)
    if convert is int and len(text) > _MOST_DIGITS:
        expected = f"at most {_MOST_DIGITS} digits (in quotes, if it is an identifier)"
        reading.report(event, path, f"a whole number of {len(text)} digits", expected)
        return reading.stand_in(path, 0)
    value = convert(text)
    if isinstance(value, float) and not math.isfinite(value):
        reading.report(event, path, text, "a finite number")
        return reading.stand_in(path, 0.0)
    return value
