"""The events of a YAML text: libyaml's where they are the same as ruamel.yaml's, which takes twenty times as long.

Only ruamel.yaml reads YAML 1.2, and its errors say best what is wrong. But a spec is nearly always a text that YAML 1.1
and 1.2 read alike: without tabs, tags, anchors, block scalars and such. That one libyaml reads. Any other text, one
that libyaml refuses, and one with an empty value, whose place the two tell differently, is read by ruamel.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import yaml

from pipeline.spec.files import UnreadableError

_MOST_EVENTS = 250_000
_UNLIKE = re.compile(r"[\t\r\x85\u2028\u2029\ufeff]|(?:^|[:?,\[\]{}-])\s*[?&*!%@`|>]|^(?:---|\.\.\.)", re.MULTILINE)
"""What makes the two parsers differ, and more: other line breaks, tabs, an indicator where a value may begin, marks."""


def parse(text: str) -> Iterator[Any]:
    """Yield the events of a text; their classes are of either library, and have the same names and attributes.

    Raises
    ------
    UnreadableError
        While they are read, where the text is no YAML.
    """
    return parse_precisely(text) if (events := parse_fast(text)) is None else iter(events)


def parse_fast(text: str) -> list[Any] | None:
    """Read a text by libyaml; None where ruamel.yaml might read it differently."""
    if _UNLIKE.search(text) or not yaml.__with_libyaml__:
        return None
    try:
        events = list(islice(yaml.parse(text, Loader=yaml.CSafeLoader), _MOST_EVENTS))
    except yaml.YAMLError:
        return None
    return None if len(events) == _MOST_EVENTS or any(map(_is_empty, events)) else events


def _is_empty(event: Any) -> bool:
    return isinstance(event, yaml.ScalarEvent) and not event.value and not event.style


def parse_precisely(text: str) -> Iterator[Any]:
    """Read a text by ruamel.yaml.

    Raises
    ------
    UnreadableError
        While it is read, where it is no YAML.
    """
    from ruamel.yaml import YAML  # most commands need no more than libyaml
    from ruamel.yaml.error import YAMLError

    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except YAMLError as error:
        raise _explain(error) from error
    except (ValueError, OverflowError, LookupError, TypeError, AttributeError, AssertionError) as error:
        # ruamel.yaml's parser trips over some malformed directives and escapes instead of reporting them.
        raise UnreadableError(0, 0, f"something that is no YAML ({error})", "YAML 1.2") from error


_SYNTAX: tuple[tuple[str, str, str], ...] = (
    (r"character '\\t'", "a tab in the indentation", "spaces"),
    (
        r"mapping values are not allowed",
        "a `:` where no key can be",
        "quotes around a text that has `: ` in it, or the indentation of the other keys",
    ),
    (r"could not find expected ':'", "a line that is no `key: value`", "`key: value`, with a space after the colon"),
    (r"expected <block end>", "a line that fits no level of indentation", "the indentation of the other keys"),
    (r"expected ',' or '\]'", "a `[` that isn't closed", "`,` or `]`"),
    (r"expected ',' or '}'", "a `{` that isn't closed", "`,` or `}`"),
    (r"node content, but found '<stream end>'", "the end of the file inside brackets", "the closing `]` or `}`"),
    (r"unexpected end of stream", "a quote that isn't closed", "a closing quote"),
    (r"cannot start any token", "a character that has a meaning in YAML", "quotes around a text that starts with it"),
)


def _explain(error: Any) -> UnreadableError:
    if not getattr(error, "problem", None):  # only one with a mark has it
        return UnreadableError(0, 0, f"something that is no YAML ({str(error).splitlines()[0]})", "YAML 1.2")
    at_end = "end" in error.problem and error.context_mark is not None
    mark = error.context_mark if at_end else error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    for pattern, found, expected in _SYNTAX:
        if re.search(pattern, error.problem):
            return UnreadableError(line, column, found, expected)
    return UnreadableError(line, column, f"something that is no YAML ({error.problem})", "YAML 1.2")
