"""A search's trials, fitted by others: what they are asked, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipeline.runs.dask import scheduler, spread_trials
from pipeline.runs.job import Job
from pipeline.steps.train.search import Elsewhere, Outcome


def elsewhere(job: Job, run: str) -> Elsewhere | None:
    """Return what has a search's trials fitted by a Dask cluster, if there is one to use."""
    address = scheduler()
    return partial(_have_tried, address, job, run) if address else None


def _have_tried(address: str, job: Job, run: str, rows: int, numbers: Sequence[int]) -> Mapping[int, Outcome]:
    answers = spread_trials(address, job, rows, numbers, run)
    return {number: (score, error) for answer in answers for number, score, error in json.loads(answer)}


def write_outcomes(outcomes: Mapping[int, Outcome]) -> str:
    """Return what a worker answers: a line that `elsewhere` reads."""
    told: list[list[Any]] = [[number, *outcome] for number, outcome in outcomes.items()]
    return json.dumps(told)
