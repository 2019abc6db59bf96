"""Where a training stands, written now and then, so that a killed one goes on from there.

A checkpoint holds all that the next epochs depend on, so the model is the same, bit for bit, whether or not its
training was interrupted. It is a safetensors file: arrays and text, nothing that could be run.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.steps.train.neural.layers import Weights
from pipeline.steps.train.results import Array

EVERY_S = 10.0
"""Seconds between two checkpoints."""


@dataclass
class Progress:
    """Where a training stands.

    Attributes
    ----------
    epoch : int
        How many are done.
    history : list of dict
        ``{"step", "loss", "validation_loss"}`` of each.
    best, best_round : float, int
        As in `Patience`.
    now, kept : mapping
        The network's state, and the one that was best on the validation rows.
    """

    epoch: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best: float | None = None
    best_round: int = 0
    now: Weights = field(default_factory=dict)
    kept: Weights = field(default_factory=dict)


def write_progress(progress: Progress) -> bytes:
    """Return a training's progress as a safetensors file."""
    from safetensors.numpy import save

    arrays: dict[str, Array] = {f"now.{name}": each for name, each in progress.now.items()}
    arrays |= {f"kept.{name}": each for name, each in progress.kept.items()}
    facts = {name: value for name, value in asdict(progress).items() if name not in {"now", "kept"}}
    return bytes(save(arrays, {"progress": json.dumps(facts)}))


def read_progress(content: bytes) -> Progress | None:
    """Read what `write_progress` gave; None if it is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        facts = json.loads(header["__metadata__"]["progress"])
    except (SafetensorError, ValueError, KeyError):
        return None

    def under(name: str) -> Weights:
        return {key.removeprefix(f"{name}."): each for key, each in arrays.items() if key.startswith(f"{name}.")}

    return Progress(**facts, now=under("now"), kept=under("kept"))
