"""The phrases of which every message is made: quotes, counts, lists and suggestions."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

_LONGEST_QUOTE = 60


_MOST_EXAMPLES = 5


_MOST_CANDIDATES = 1000  # difflib takes a millisecond for a few hundred


def quote(text: str) -> str:
    """Write a text in quotes, on one line and at most 60 characters long."""
    short = text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…"
    return f"'{short}'" if short.isprintable() else ascii(short)


def one_line(text: str) -> str:
    """Return what a person typed on one line: each run of spaces and unprintable characters becomes one space."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def encodable(text: str) -> str:
    """Return a text that can be written as UTF-8: a byte of a file's name that is none becomes ``�``."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def describe(value: Any) -> str:
    """Say what a value of the spec is, as its author would."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"the text {quote(value)}" if value else "an empty text"
    if isinstance(value, Mapping):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}" if value else "an empty list"
    return json.dumps(value)


def count(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def article(noun: object) -> str:
    """Write a noun with its article: ``an int``, ``a float``."""
    return f"an {noun}" if str(noun).startswith(tuple("aeiou")) else f"a {noun}"


def join(words: Iterable[str], last: str = "or") -> str:
    """Join words as prose: ``a, b or c``."""
    *front, end = words
    return f"{', '.join(front)} {last} {end}" if front else end


def examples(names: Iterable[str]) -> str:
    """Name at most five, and say that there are more."""
    listed = list(names)
    shown = ", ".join(map(quote, listed[:_MOST_EXAMPLES]))
    return f"{shown}, …" if len(listed) > _MOST_EXAMPLES else shown


def closest(word: Any, names: Iterable[str]) -> str | None:
    """Find the name that was probably meant.

    Parameters
    ----------
    word : Any
        What was written; anything but text has no closest name.
    names : iterable of str
        What could have been written.
    """
    if not isinstance(word, str):
        return None
    by_folded = {name.casefold(): name for name in islice(names, _MOST_CANDIDATES)}
    folded = word.casefold()[:100]
    matches = difflib.get_close_matches(folded, by_folded, n=5, cutoff=0.65)
    # Swapped letters are the likeliest slip, but difflib counts them as two.
    swapped = [match for match in matches if sorted(match) == sorted(folded)]
    return by_folded[(swapped or matches)[0]] if matches else None


def suggest(word: Any, names: Iterable[str], otherwise: str) -> str:
    """Say what is expected: the name that was probably meant, else ``otherwise``."""
    match = closest(word, names)
    return otherwise if match is None else f"{otherwise}; did you mean {quote(match)}?"
