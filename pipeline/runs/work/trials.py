"""A search's trials that a Dask cluster fits: what its workers are asked, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.runs.dask import scheduler, spread_trials
from pipeline.runs.session import Session
from pipeline.steps.train.search import Elsewhere, Outcome


def elsewhere(session: Session) -> Elsewhere | None:
    """Build the function that has a search's trials fitted by a Dask cluster, if there is one to use."""
    address = scheduler()
    return partial(_have_tried, address, session) if address and session.job.spec.model.search else None


def _have_tried(address: str, session: Session, rows: int, numbers: Sequence[int]) -> Mapping[int, Outcome]:
    answers = spread_trials(address, session.job, rows, numbers, session.run)
    return {number: (score, error) for answer in answers for number, score, error in json.loads(answer)}


def write_outcomes(outcomes: Mapping[int, Outcome]) -> str:
    """Write a worker's answer: a line that `elsewhere` reads."""
    told: list[list[Any]] = [[number, *outcome] for number, outcome in outcomes.items()]
    return json.dumps(told)
