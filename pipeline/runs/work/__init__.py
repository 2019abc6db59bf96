"""The work of each step on artifacts: read what it needs, call its function, write what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.runs.memory import returned_memory
from pipeline.runs.plan.planning import Node
from pipeline.runs.results import Made
from pipeline.runs.session import Session
from pipeline.runs.work.evaluation import evaluate_model
from pipeline.runs.work.features import normalize_features, transform_partition
from pipeline.runs.work.partitions import clean_partition
from pipeline.runs.work.training import train_model

__all__ = ["WORK", "returned_memory"]

WORK: Mapping[str, Callable[[Session, Node, Path], Made]] = {
    "clean": clean_partition,
    "transform": transform_partition,
    "normalize": normalize_features,
    "train": train_model,
    "evaluate": evaluate_model,
}
