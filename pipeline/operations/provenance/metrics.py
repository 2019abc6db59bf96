"""One metric, before and after: by how much it differs, and whether that is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.spec.catalogue.metrics import METRICS
from pipeline.steps.evaluate.results import Estimate

_LEVEL = 5e-5  # differences below it read 0.0000


@dataclass(frozen=True)
class MetricChange:
    """A metric on two sides.

    Attributes
    ----------
    before, after : Estimate or None
        None where that side does not have it.
    difference : float or None
        After less before.
    better : bool or None
        None where the sides cannot be compared or are level.
    clear : bool
        Whether the intervals lie apart, so that chance does not explain it.
    """

    metric: str
    before: Estimate | None
    after: Estimate | None
    difference: float | None = None
    better: bool | None = None
    clear: bool = False


def compare_metrics(
    before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]
) -> list[MetricChange]:
    """Compare metrics, as evaluations and releases keep them, in the order of the later side."""
    return [compare_metric(name, estimate(before.get(name)), estimate(after.get(name))) for name in {**after, **before}]


def compare_metric(name: str, before: Estimate | None, after: Estimate | None) -> MetricChange:
    """Compare a metric with what it was."""
    if before is None or after is None or before.value is None or after.value is None:
        return MetricChange(name, before, after)
    difference = after.value - before.value
    known = METRICS.get(name)
    better = (difference > 0) == known.greater_is_better if known and abs(difference) >= _LEVEL else None
    return MetricChange(name, before, after, difference, better, _lie_apart(before, after))


def estimate(found: Mapping[str, Any] | None) -> Estimate | None:
    """Read a metric as it is kept."""
    return None if found is None else Estimate(found.get("value"), found.get("low"), found.get("high"))


def _lie_apart(one: Estimate, other: Estimate) -> bool:
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return False
    return one.high < other.low or other.high < one.low
