"""Text as word pieces, as networks of the BERT family read it: J. Devlin et al., "BERT" (2019); uncased.

The pieces are those of the package ``tokenizers`` for such a vocabulary, but ``[SEP]`` in a text is plain text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache

_UNKNOWN, _FIRST, _LAST = "[UNK]", "[CLS]", "[SEP]"
_LONGEST_WORD = 100
_CHARACTERS_A_PIECE = 64  # beyond that many, a text is cut before its words are looked at
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class Pieces:
    """Cuts texts into pieces of a vocabulary.

    Attributes
    ----------
    most : int
        Pieces of a text that are read, with the two marks around them.
    """

    def __init__(self, vocabulary: bytes, most: int) -> None:
        words = vocabulary.decode().split("\n")
        self.places: Mapping[str, int] = {word.rstrip("\r"): place for place, word in enumerate(words) if word}
        self.most = most
        self._word = lru_cache(maxsize=65_536)(self._cut)

    def of(self, text: str) -> list[int]:
        """Look up a text's pieces in the vocabulary; the marks of beginning and end enclose their indices."""
        room, found = self.most - 2, [self.places[_FIRST]]
        for word in _words(text[: _CHARACTERS_A_PIECE * self.most]):
            found += self._word(word)
            if len(found) > room:
                break
        return [*found[: room + 1], self.places[_LAST]]

    def _cut(self, word: str) -> tuple[int, ...]:
        """Split a word into pieces: the longest known beginning, then the longest known continuation, and so on."""
        if len(word) > _LONGEST_WORD:
            return (self.places[_UNKNOWN],)
        found, start = [], 0
        while start < len(word):
            known = (
                (end, self.places.get(("##" if start else "") + word[start:end])) for end in range(len(word), start, -1)
            )
            end, place = next((each for each in known if each[1] is not None), (0, None))
            if place is None:
                return (self.places[_UNKNOWN],)
            found.append(place)
            start = end
        return tuple(found)


def _words(text: str) -> Iterator[str]:
    """Cut at white space and around punctuation and ideographs, in lower case and without accents."""
    for part in _plain(text).split():
        start = 0
        for place, character in enumerate(part):
            if _stands_alone(character):
                if place > start:
                    yield part[start:place]
                yield character
                start = place + 1
        if start < len(part):
            yield part[start:]


def _plain(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text.lower()
    visible = "".join(" " if each.isspace() else each for each in text if each.isspace() or not _is_control(each))
    bare = (each for each in unicodedata.normalize("NFD", visible) if unicodedata.category(each) != "Mn")
    return "".join(each.lower() for each in bare)  # each alone: no letter looks at its neighbours


def _is_control(character: str) -> bool:
    return character == "\ufffd" or unicodedata.category(character).startswith("C")


@lru_cache(maxsize=65_536)
def _stands_alone(character: str) -> bool:
    code = ord(character)
    if code < 128:
        return not character.isalnum() and code > 32 and code != 127
    return unicodedata.category(character).startswith("P") or any(low <= code <= high for low, high in _IDEOGRAPHS)
