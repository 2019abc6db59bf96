"""What the graph from raw columns to the matrix reads: `normalize` writes it down, and `train` tells callers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.model.sentences import Sentences
from pipeline.model.words import Words


@dataclass(frozen=True)
class GraphInputs:
    """Raw columns that a graph reads.

    Attributes
    ----------
    numbers, texts : tuple of str
        Columns of its inputs ``numbers`` and ``texts``.
    words : tuple of Words
        Columns of its input ``words``.
    sentences : tuple of Sentences
        Columns whose vectors are its input ``vectors``.
    """

    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    words: tuple[Words, ...] = ()
    sentences: tuple[Sentences, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return a form for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GraphInputs:
        """Read what `to_json` gave."""
        words = tuple(map(Words.from_json, data["words"]))
        sentences = tuple(Sentences(**each) for each in data["sentences"])
        return cls(tuple(data["numbers"]), tuple(data["texts"]), words, sentences)
