"""Step → its work on artifacts: what computes it, and what it is handed of the session, and no more.

Each is imported only where it is done: it brings pandas and the like, and no step needs another's. It is imported
before the step is timed, since a process imports once, however many partitions it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.runs.plan.planning import Node
from pipeline.runs.results import Made
from pipeline.runs.session import Session

if TYPE_CHECKING:
    from pipeline.steps.train.search import Elsewhere

Work = Callable[[Session, Node, Path], Made]


def _clean() -> Work:
    from pipeline.runs.work.partitions import clean_partition

    return lambda session, node, folder: clean_partition(session.job, node, folder)


def _transform() -> Work:
    from pipeline.runs.work.features import transform_partition

    return lambda session, node, folder: transform_partition(session.inputs, node, folder)


def _normalize() -> Work:
    from pipeline.runs.work.matrix import normalize_features

    return lambda session, _, folder: normalize_features(session.inputs, folder)


def _train() -> Work:
    from pipeline.runs.work.training import train_model

    return lambda session, node, folder: train_model(
        session.inputs, node, folder, session.artifacts.store, session.recorder, _others(session)
    )


def _others(session: Session) -> Elsewhere | None:
    """Return what fits a search's trials on other machines, if the spec has a search and there are any."""
    if not session.job.spec.model.search:
        return None
    from pipeline.runs.work.trials import elsewhere

    return elsewhere(session.job, session.run)


def _evaluate() -> Work:
    from pipeline.runs.work.evaluation import evaluate_model

    return lambda session, _, folder: evaluate_model(
        session.inputs, folder, session.assignments.champion, session.artifacts.store
    )


LOADERS: Mapping[str, Callable[[], Work]] = {
    "clean": _clean,
    "transform": _transform,
    "normalize": _normalize,
    "train": _train,
    "evaluate": _evaluate,
}
"""Step → what imports its work, and returns it."""
