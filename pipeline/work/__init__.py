"""The work of each step on artifacts: read what it needs, call its function, write what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.planning import Node
from pipeline.session import Made, Session
from pipeline.work.evaluation import evaluate_model
from pipeline.work.features import normalize_features, transform_partition
from pipeline.work.memory import returned_memory
from pipeline.work.partitions import clean_partition
from pipeline.work.training import train_model

__all__ = ["WORK", "returned_memory"]

WORK: Mapping[str, Callable[[Session, Node, Path], Made]] = {
    "clean": clean_partition,
    "transform": transform_partition,
    "normalize": normalize_features,
    "train": train_model,
    "evaluate": evaluate_model,
}
