"""From texts to vectors, with an encoder's two files: its graph and its vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from pipeline.model.sentences.pieces import Pieces

MOST_PIECES = 256
_TOGETHER = 4096  # pieces in one run of the graph

Vectors = NDArray[np.float32]


class SentenceEncoder:
    """Turns each text into a vector, which does not depend on the other texts of the batch.

    Texts of the same number of pieces are encoded together: none is padded, so a row is computed as if it were alone.

    Attributes
    ----------
    known : mapping of str to float32[H]
        Vectors that need not be computed; they were, by this very encoder.
    """

    def __init__(self, session: ort.InferenceSession, vocabulary: bytes) -> None:
        self.pieces = Pieces(vocabulary, MOST_PIECES)
        self.width = int(session.get_outputs()[0].shape[1])
        self.known: Mapping[str, Vectors] = {}
        self._session = session

    def of(self, texts: Sequence[str]) -> Vectors:
        """Encode texts: float32[n, H]."""
        different = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        table = np.empty((len(different), self.width), dtype=np.float32)
        waiting: dict[int, list[tuple[int, list[int]]]] = {}
        for text, place in different.items():
            if (vector := self.known.get(text)) is not None:
                table[place] = vector
            else:
                pieces = self.pieces.of(text)
                waiting.setdefault(len(pieces), []).append((place, pieces))
        for group in _groups(waiting):
            table[[place for place, _ in group]] = self._run([pieces for _, pieces in group])
        return table[[different[text] for text in texts]] if len(texts) else table

    def _run(self, pieces: list[list[int]]) -> Vectors:
        found: Vectors = self._session.run(["vectors"], {"pieces": np.array(pieces, dtype=np.int64)})[0]
        return found


def _groups(waiting: Mapping[int, list[tuple[int, list[int]]]]) -> Iterator[list[tuple[int, list[int]]]]:
    for length, rows in sorted(waiting.items()):
        size = max(_TOGETHER // length, 1)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]
