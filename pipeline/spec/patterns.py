r"""Patterns of columns in RE2's words: written as for Python's `re`, matched in time that is linear in the text.

Python's own engine goes back for each choice that it has made, which takes minutes for `(a+)+b` and some text. RE2 does
not, but its `\d`, `\w` and `\s` know ASCII alone, and a pattern must mean what it says in Python. So it is read by
Python's parser, and written anew with the classes spelled out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MOST = 10_000
"""What a pattern may weigh: RE2 takes up to 8 MiB, and a class of all letters some 8 KiB of it."""

_LETTERS = r"\p{L}\p{N}_"
_SPACES = r"\x09-\x0d\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
_CLASSES: Mapping[str, tuple[str, int]] = {"DIGIT": (r"\p{Nd}", 5), "WORD": (_LETTERS, 30), "SPACE": (_SPACES, 3)}
_ASCII: Mapping[str, tuple[str, int]] = {"DIGIT": ("0-9", 1), "WORD": ("0-9A-Za-z_", 1), "SPACE": (r"\x09-\x0d\x20", 1)}
_ANCHORS = {"AT_BEGINNING": r"\A", "AT_BEGINNING_STRING": r"\A", "AT_END_STRING": r"\z"}
_CANNOT = {
    "ASSERT": "a look-ahead or look-behind",
    "ASSERT_NOT": "a look-ahead or look-behind",
    "GROUPREF": "a reference to a group",
    "GROUPREF_EXISTS": "a choice by a group",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repetition",
    "AT": "an anchor of a line or a word, or an end that is not its own",
}

Written = tuple[str, int]
"""A part in RE2's words, and its weight."""


class PatternError(ValueError):
    """A pattern that says something which cannot be matched in linear time, or too much."""


def to_re2(pattern: str) -> str:
    """Write a pattern in RE2's words; it stands for a whole text.

    Raises
    ------
    PatternError
        If it looks ahead or behind, refers to a group, or is too large.
    re.error
        If Python cannot read it either.
    """
    parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]  # noqa: SLF001 - it alone knows Python's words
    _drop_end(parsed.data)
    text, weight = _sequence(parsed, parsed.state.flags)
    if weight > MOST:
        raise PatternError(f"a pattern that stands for some {weight:,} steps, more than {MOST:,}")
    return rf"\A(?:{text})\z"


def _drop_end(parts: list[tuple[Any, Any]]) -> None:
    """Drop `$` where the pattern ends: the whole text is matched. Elsewhere it looks ahead for the last line end."""
    if not parts:
        return
    kind, value = parts[-1]
    if str(kind) == "AT" and str(value) == "AT_END":
        del parts[-1]
    elif str(kind) == "SUBPATTERN":
        _drop_end(value[-1].data)
    elif str(kind) == "BRANCH":
        for each in value[1]:
            _drop_end(each.data)


def _sequence(parts: Iterable[tuple[Any, Any]], flags: int) -> Written:
    written = [_write(str(kind), value, flags) for kind, value in parts]
    return "".join(text for text, _ in written), sum(weight for _, weight in written)


def _write(kind: str, value: Any, flags: int) -> Written:
    if kind == "AT" and str(value) in _ANCHORS and not flags & re.MULTILINE:
        return _ANCHORS[str(value)], 1
    if kind in _CANNOT:
        raise PatternError(_CANNOT[kind])
    return _WRITERS[kind](value, flags)


def _literal(value: int, flags: int) -> Written:
    return _folded(f"\\x{{{value:x}}}", flags), 1


def _not_literal(value: int, flags: int) -> Written:
    return _folded(f"[^\\x{{{value:x}}}]", flags), 3


def _folded(text: str, flags: int) -> str:
    if flags & re.IGNORECASE and flags & re.ASCII:
        raise PatternError("(?a) beside (?i)")
    return f"(?i:{text})" if flags & re.IGNORECASE else text


def _any(_: Any, flags: int) -> Written:
    return (r"(?s:.)" if flags & re.DOTALL else r"[^\n]"), 3


def _set(members: list[tuple[Any, Any]], flags: int) -> Written:
    negated = str(members[0][0]) == "NEGATE"
    known = _ASCII if flags & re.ASCII else _CLASSES
    inside, without, weight = "", [], 1
    for kind, value in members[negated:]:
        if str(kind) == "CATEGORY":
            name = str(value).removeprefix("CATEGORY_")
            text, more = known[name.removeprefix("NOT_")]
            weight += more
            if name.startswith("NOT_"):
                without.append(text)
            else:
                inside += text
        else:
            low, high = value if str(kind) == "RANGE" else (value, value)
            inside, weight = rf"{inside}\x{{{low:x}}}-\x{{{high:x}}}", weight + 1
    if negated and without:
        raise PatternError("a set that leaves out what is no digit, letter or space")
    choices = [f"[^{text}]" for text in without] + ([f"[{'^' * negated}{inside}]"] if inside else [])
    return _folded(f"(?:{'|'.join(choices)})", flags), weight


def _branch(value: tuple[None, list[Any]], flags: int) -> Written:
    written = [_sequence(each, flags) for each in value[1]]
    return f"(?:{'|'.join(text for text, _ in written)})", 1 + sum(weight for _, weight in written)


def _group(value: tuple[int | None, int, int, Any], flags: int) -> Written:
    _, added, removed, parts = value
    text, weight = _sequence(parts, (flags | added) & ~removed)
    return f"(?:{text})", weight


def _repeat(value: tuple[int, Any, Any], flags: int) -> Written:
    least, most, parts = value
    text, weight = _sequence(parts, flags)
    endless = str(most) == "MAXREPEAT"
    largest = least if endless else int(most)
    if largest > 1000:
        raise PatternError(f"{largest:,} repetitions, more than 1,000")
    counts = f"{{{least},}}" if endless else f"{{{least},{most}}}"
    return f"(?:{text}){counts}", weight * max(largest, 1) + 1


_WRITERS: Mapping[str, Callable[[Any, int], Written]] = {
    "LITERAL": _literal,
    "NOT_LITERAL": _not_literal,
    "ANY": _any,
    "IN": _set,
    "BRANCH": _branch,
    "SUBPATTERN": _group,
    "MAX_REPEAT": _repeat,
    "MIN_REPEAT": _repeat,  # shorter first, which a match of the whole text does not show
}
