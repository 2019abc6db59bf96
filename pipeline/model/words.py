"""How text becomes words, alike in training and in serving: one text at a time, with light imports.

ONNX's standard operators cannot find words by their letters, nor fold case by Unicode. So that is done here, before the
graph, which reads the words joined by single spaces.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias
from zlib import crc32

from pipeline.errors import DataError
from pipeline.messages import quote

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Scripts that put no spaces between words: Thai to Myanmar, Khmer, kana and ideographs. There, a character is a word.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_SPACELESS}]|[^\W{_SPACELESS}]{{2,}}")
_ASCII_WORD = re.compile(r"\w{2,}", re.ASCII)  # the same for a text in ASCII, in a third of the time
_LONG = 20  # characters a word, from which a text is read word by word instead of at once

MAX_GRAMS = 2_000_000
"""Largest number of different words, or rows of words, of one column that are counted."""
PORTION = 8_192
"""Words in a portion of rows, counted with the padding that makes all rows as long as the longest.

The counts of a portion stay in a processor's cache: 65,536 words took 1.7 times as long.
"""

_MOST_REMEMBERED, _LONGEST_REMEMBERED = 262_144, 64  # words, characters: requests decide what is asked

GramCounts: TypeAlias = Mapping[str, tuple[int, int]]
"""Word, or words in a row joined by spaces → rows that have it, and how often it occurs."""


@dataclass(frozen=True)
class Words:
    """How the words of one column are found.

    Attributes
    ----------
    fill : str
        The text that stands for a missing one.
    buckets : int or None
        Words become numbers below twice as many: a hash, the upper half of which counts negatively.
    ngrams : tuple of int
        How many words in a row are hashed, from the least to the most.
    """

    column: str
    lowercase: bool = True
    max_words: int = 1000
    fill: str = ""
    buckets: int | None = None
    ngrams: tuple[int, int] = (1, 1)

    def of(self, text: str) -> str:
        """Find a text's words (or their hashes) in their order, joined by single spaces.

        A word is two or more letters, digits and underscores, as in scikit-learn, or one character of a script
        without spaces.
        """
        given = text or self.fill
        given = given.lower() if self.lowercase else given
        word = _ASCII_WORD if given.isascii() else _WORD
        if len(given) > _LONG * self.max_words:
            found = [each.group() for each in islice(word.finditer(given), self.max_words)]
        else:
            found = word.findall(given)[: self.max_words]
        return " ".join(found) if self.buckets is None else self._hashed(found, self.buckets)

    def _hashed(self, words: Sequence[str], buckets: int) -> str:
        return " ".join(map(_buckets(buckets).__getitem__, grams_of(words, self.ngrams)))

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Words:
        """Read what ``dataclasses.asdict`` gave."""
        return cls(**{**data, "ngrams": tuple(data["ngrams"])})


class _Buckets(dict[str, str]):
    """Word → its bucket by CRC-32, whose lowest bits choose it, and whose highest one is the sign.

    It remembers what it was asked: a dictionary answers in a third of the time that ``lru_cache`` takes.
    """

    def __init__(self, buckets: int) -> None:
        self._count = buckets

    def __missing__(self, gram: str) -> str:
        found = crc32(gram.encode("utf-8", "surrogatepass"))
        bucket = str(found % self._count + (self._count if found >> 31 else 0))
        if len(gram) <= _LONGEST_REMEMBERED:
            if len(self) >= _MOST_REMEMBERED:
                self.clear()
            self[gram] = bucket
        return bucket


_buckets = lru_cache(maxsize=16)(_Buckets)


def portions(words: NDArray[np.object_]) -> Iterator[slice]:
    """Cut rows into portions of at most `PORTION` words (or one row), as if all rows were as long as the longest.

    Parameters
    ----------
    words : object[n, w]
        Texts of words joined by single spaces.
    """
    spaces = [[text.count(" ") for text in column] for column in words.T.tolist()]
    lengths = [max(row) + 1 for row in zip(*spaces, strict=True)]
    start = longest = 0
    for place, length in enumerate(lengths):
        longest = max(longest, length)
        if place > start and longest * (place - start + 1) > PORTION:
            yield slice(start, place)
            start, longest = place, length
    yield slice(start, len(lengths))


def grams_of(words: Sequence[str], ngrams: tuple[int, int]) -> list[str]:
    """List the n-grams of the lengths that are asked for; the words of each are joined by spaces."""
    if ngrams == (1, 1):
        return list(words)
    return [
        " ".join(words[start : start + length])
        for length in range(ngrams[0], ngrams[1] + 1)
        for start in range(len(words) - length + 1)
    ]


def count_grams(column: str, texts: Iterable[str], ngrams: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Count the words of some rows, sorted.

    Raises
    ------
    DataError
        There are more than `MAX_GRAMS`.
    """
    rows: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for text in texts:
        if text:
            found = grams_of(text.split(" "), ngrams)
            times.update(found)
            rows.update(set(found))
    _check_size(column, len(times))
    return {gram: (rows[gram], times[gram]) for gram in sorted(times)}


def merge_grams(column: str, parts: Iterable[GramCounts]) -> dict[str, tuple[int, int]]:
    """Add counts up; errors as in `count_grams`."""
    total: dict[str, tuple[int, int]] = {}
    for part in parts:
        for gram, (rows, times) in part.items():
            before = total.get(gram, (0, 0))
            total[gram] = (before[0] + rows, before[1] + times)
    _check_size(column, len(total))
    return dict(sorted(total.items()))


def _check_size(column: str, grams: int) -> None:
    if grams > MAX_GRAMS:
        raise DataError(
            f"{quote(column)}: {grams:,} different words to count; expected at most {MAX_GRAMS:,}: hash them "
            f"(transform.{column}: hashing), or count fewer words in a row (transform.{column}.ngrams)"
        )
