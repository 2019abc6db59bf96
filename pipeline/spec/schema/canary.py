"""The section ``deploy.canary``: how a release earns its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt

from pipeline.spec.schema.section import Section

CANARY_METRICS: Mapping[str, str] = {
    "errors": "share of requests that may fail more than in the baseline",
    "latency": "how many times as long as in the baseline a request may take",
    "outputs": "population stability index (PSI) of the predictions against the baseline's",
}


class CanaryStep(Section):
    """A part of the requests, for a time."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Percent of the requests that the canary answers, at most 50, since its baseline answers as many; or that a shadow
    is asked."""
    hold_s: NonNegativeInt = 60
    """Seconds that it stays so, at least."""


class Canary(Section):
    """How a release earns its place: by requests that it answers no worse than a baseline of what is live."""

    steps: list[CanaryStep] = Field(min_length=1)
    """What the canary gets, step by step, as `{weight, hold_s}`; after the last it is promoted."""
    metrics: dict[str, float] = Field({"errors": 0.01, "latency": 1.5, "outputs": 0.25}, min_length=1)
    """Metric → how much worse the canary may be: `errors` (share), `latency` (times), `outputs` (PSI)."""
    min_requests: PositiveInt = 200
    """Requests that the canary must answer in each step; until then it waits, up to the deadline."""
    false_alarm: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Probability that a release as good as the live one is aborted, over all looks."""
    every_s: PositiveInt = 10
    """Seconds between two looks."""
    deadline_s: PositiveInt = 3600
    """Seconds after which an undecided canary is aborted."""
    prometheus: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """For the strategy `argo-rollouts`: the address at which Argo Rollouts asks Prometheus."""
