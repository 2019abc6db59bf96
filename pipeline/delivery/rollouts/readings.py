"""What servers have answered, as their own ``/metrics`` tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reading:
    """Counts since the servers of one track began.

    Attributes
    ----------
    requests, failed : int
        Requests that ended, and those of them that ended otherwise than with status 200. What callers do wrong
        counts too: they do it to both tracks alike, unless the candidate expects something else.
    durations : mapping
        Upper bound of a bucket in seconds → requests in it.
    outputs : mapping
        Lower bound of a cell of predictions → requests, of each of which one row was looked at.
    """

    requests: int = 0
    failed: int = 0
    durations: Mapping[float, int] = field(default_factory=dict)
    outputs: Mapping[float, int] = field(default_factory=dict)

    def __add__(self, other: Reading) -> Reading:
        return Reading(
            self.requests + other.requests,
            self.failed + other.failed,
            Counter(self.durations) + Counter(other.durations),
            Counter(self.outputs) + Counter(other.outputs),
        )

    def __sub__(self, earlier: Reading) -> Reading:
        """Return what came since an earlier reading of the same servers."""
        return Reading(
            max(self.requests - earlier.requests, 0),
            max(self.failed - earlier.failed, 0),
            Counter(self.durations) - Counter(earlier.durations),
            Counter(self.outputs) - Counter(earlier.outputs),
        )


NOTHING = Reading()


def read_metrics(text: str, model: str, version: str, track: str = "live") -> Reading:
    """Read the counts of one release on one track from a server's answer.

    Parameters
    ----------
    text : str
        In Prometheus' text format.
    version : str
        With or without its leading ``v``.
    """
    from prometheus_client.parser import text_string_to_metric_families

    wanted = (model, version.removeprefix("v"), track)
    statuses: Counter[str] = Counter()
    below: dict[float, int] = {}
    outputs: Counter[float] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if _key(sample.labels) != wanted:
                continue
            if sample.name == "ml_inference_requests_total":
                statuses[sample.labels["status"]] += int(sample.value)
            elif sample.name == "ml_inference_duration_seconds_bucket":
                below[float(sample.labels["le"])] = int(sample.value)
            elif sample.name == "ml_inference_outputs_total":
                outputs[float(sample.labels["above"])] += int(sample.value)
    total = statuses.total()
    return Reading(total, total - statuses["200"], _differences(below), +outputs)


def _key(labels: Mapping[str, str]) -> tuple[str, str, str]:
    return labels.get("model", ""), labels.get("version", "").removeprefix("v"), labels.get("track", "")


def total(readings: Iterable[Reading]) -> Reading:
    """Add up the readings of several servers."""
    return sum(readings, NOTHING)


def _differences(below: Mapping[float, int]) -> Mapping[float, int]:
    """Compute the requests in each bucket from the cumulative counts."""
    counts: Counter[float] = Counter()
    before = 0
    for bound in sorted(below):
        counts[bound], before = below[bound] - before, below[bound]
    return +counts
