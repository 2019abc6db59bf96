"""Step → its work on artifacts: what computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.runs.plan.planning import Node
from pipeline.runs.results import Made
from pipeline.runs.session import Session
from pipeline.runs.work.evaluation import evaluate_model
from pipeline.runs.work.features import transform_partition
from pipeline.runs.work.matrix import normalize_features
from pipeline.runs.work.partitions import clean_partition
from pipeline.runs.work.training import train_model

WORK: Mapping[str, Callable[[Session, Node, Path], Made]] = {
    "clean": clean_partition,
    "transform": transform_partition,
    "normalize": normalize_features,
    "train": train_model,
    "evaluate": evaluate_model,
}
