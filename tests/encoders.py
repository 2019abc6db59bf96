"""A small encoder with weights drawn by chance: as fast as tests need, of the shape that the real one has."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from onnx import ModelProto

from pipeline.model.sentences import ENCODER, PIECES, WIDTHS
from pipeline.steps.encoder.bert import compile_encoder
from pipeline.steps.encoder.weights import open_encoder

WIDTH, INNER, LONGEST = WIDTHS["all-minilm-l6-v2"], 24, 512
VOCABULARY = (
    b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nun\n##aff\n##able\nthe\nua\naa\ne\n\xc3\x9f\n\xe6\x97\xa5\n\xe6\x9c\xac\n!\n,\n0"
)


@cache
def small_model() -> ModelProto:
    """Return the graph of one layer."""
    random = np.random.default_rng(3)

    def draw(*shape: int) -> np.ndarray:
        return random.normal(scale=0.1, size=shape).astype(np.float32)

    tensors = {
        "embeddings.word_embeddings.weight": draw(17, WIDTH),
        "embeddings.position_embeddings.weight": draw(LONGEST, WIDTH),
        "embeddings.token_type_embeddings.weight": draw(2, WIDTH),
    }
    sizes = {"attention.self.query": (WIDTH, WIDTH), "attention.self.key": (WIDTH, WIDTH)}
    sizes |= {"attention.self.value": (WIDTH, WIDTH), "attention.output.dense": (WIDTH, WIDTH)}
    sizes |= {"intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
    for name, size in sizes.items():
        tensors |= {f"encoder.layer.0.{name}.weight": draw(*size), f"encoder.layer.0.{name}.bias": draw(size[0])}
    norms = ["embeddings.LayerNorm", *(f"encoder.layer.0.{part}.LayerNorm" for part in ("attention.output", "output"))]
    for name in norms:
        tensors |= {f"{name}.weight": 1 + draw(WIDTH), f"{name}.bias": draw(WIDTH)}
    return compile_encoder(tensors, heads=12, epsilon=1e-12)


def write_encoder(folder: Path) -> Path:
    """Write its files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ENCODER).write_bytes(small_model().SerializeToString(deterministic=True))
    (folder / PIECES).write_bytes(VOCABULARY)
    return folder


__all__ = ["VOCABULARY", "open_encoder", "small_model", "write_encoder"]
