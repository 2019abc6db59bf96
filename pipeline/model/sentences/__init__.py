"""Vectors of sentences, by a network of the BERT family that is trained already; alike in training and serving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WIDTHS: Mapping[str, int] = {"all-minilm-l6-v2": 384}
"""Encoder → numbers in a vector."""
ENCODER, PIECES = "encoder.onnx", "pieces.txt"
"""Names of an encoder's files, in an artifact and in a bundle."""


@dataclass(frozen=True)
class Sentences:
    """A column of text whose vectors are features.

    Attributes
    ----------
    encoder : str
        Name of the encoder.
    fill : str
        The text that stands for a missing one.
    """

    column: str
    encoder: str
    fill: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the vector's numbers, in the transformed frame and in the matrix."""
        return tuple(f"{self.column}#{place}" for place in range(WIDTHS[self.encoder]))
