"""Layers over sequences of words in PyTorch; each passes on which places have a word."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from pipeline.steps.train.neural.layers import FAR_BELOW, UNKNOWN, Layer

Sequence: TypeAlias = tuple[Tensor, Tensor]
"""Values (rows, channels, places), and 1 or 0 for each place (rows, 1, places)."""


class Embedding(nn.Module):  # type: ignore[misc]
    """Word numbers become vectors."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(layer.size[1:]))

    def forward(self, rows: Tensor) -> Sequence:  # noqa: D102
        tokens = rows.long()
        tokens = torch.where((tokens >= 0) & (tokens < len(self.vectors)), tokens, UNKNOWN)
        known = (tokens > 0).unsqueeze(1).to(self.vectors.dtype)
        return nn.functional.embedding(tokens, self.vectors).transpose(1, 2) * known, known


class SequenceConv(nn.Conv1d):  # type: ignore[misc]
    """A convolution over neighbouring words, with its activation."""

    def __init__(self, layer: Layer, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__(*layer.size, padding=layer.size[2] // 2)
        self._activation = activation

    def forward(self, rows: Sequence) -> Sequence:  # noqa: D102
        values, known = rows
        return self._activation(super().forward(values)) * known, known


class SequencePool(nn.Module):  # type: ignore[misc]
    """The largest or the mean value of each channel; 0 for a text without words."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._largest = layer.how == "max"

    def forward(self, rows: Sequence) -> Tensor:  # noqa: D102
        values, known = rows
        if self._largest:
            return torch.where(known > 0, values, FAR_BELOW).amax(2) * known.amax(2)
        return values.sum(2) / known.sum(2).clamp(min=1)
