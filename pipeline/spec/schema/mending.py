"""The keys of ``monitoring.actions``: what is done about a live release in which something is wrong."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from pipeline.spec.schema.section import Section, shorthand

Signal = Literal["failures", "refusals", "quality", "drift", "pipeline", "data", "concept"]
"""The words of a look: its verdict, and of what has moved the cause, which is the more exact word."""
Deed = Literal["alert", "retrain", "rollback", "hold"]


class Action(Section):
    """What is done, and how often."""

    do: Deed
    """`alert` records it; `retrain` runs the model, whose gate decides; `rollback` makes the release before live again;
    `hold` lets no release go live until `modelrail resume`."""
    after: PositiveInt = 1
    """Windows in a row that must say the same."""
    cooldown_s: NonNegativeInt = 3600
    """Seconds after which the same may be done again."""
    at_most: Annotated[int, Field(ge=1, le=1000)] = 3
    """Times in 24 hours."""
    approve: bool = False
    """Ask a person first: in Airflow by a task that waits for the answer, else by `modelrail watch --approve`."""


Actions = dict[Signal, Annotated[Action, shorthand("do")]]
