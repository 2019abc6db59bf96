"""What servers have counted, as a window: between one look and the next."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.model.reference import Reference

FEATURE, REQUESTS, TRUTH = "ml_inference_feature_total", "ml_inference_requests_total", "ml_inference_truth_total"
FAILED = "5..|429"
"""Statuses that are the service's fault: it failed, or had no room."""
Bins = tuple[float, ...]
"""Rows in each bin of a feature, in the order of the reference."""


@dataclass(frozen=True)
class Counts:
    """Requests and rows of one release on one track, since its servers began or within a window.

    Attributes
    ----------
    requests : int
        All of them.
    failed, refused : int
        Those that the server could not answer, and those that it would not, since they are no good questions.
    features : mapping
        Name of a feature → rows in each of its bins.
    truth : mapping
        What is counted of answers whose truth came → by bin, since the servers began.
    """

    requests: int = 0
    failed: int = 0
    refused: int = 0
    features: Mapping[str, Bins] = field(default_factory=dict)
    truth: Mapping[str, Bins] = field(default_factory=dict)

    @property
    def answered(self) -> int:
        """How many requests were answered."""
        return self.requests - self.failed - self.refused

    @classmethod
    def of(cls, statuses: Mapping[str, float], features: Mapping[str, Bins]) -> Counts:
        """Sort requests by their HTTP status."""
        sizes = {name: round(number) for name, number in statuses.items()}
        failed = {status: number for status, number in sizes.items() if re.fullmatch(FAILED, status)}
        refused = sum(number for status, number in sizes.items() if status.startswith("4") and status not in failed)
        return cls(sum(sizes.values()), sum(failed.values()), refused, features)

    def since(self, earlier: Counts) -> Counts:
        """Return what came since earlier counts; all of these, where servers began anew meanwhile."""
        if self._is_behind(earlier):
            return self
        features = {
            name: tuple(
                now - then for now, then in zip(bins, earlier.features.get(name, (0.0,) * len(bins)), strict=True)
            )
            for name, bins in self.features.items()
        }
        requests = (self.requests - earlier.requests, self.failed - earlier.failed, self.refused - earlier.refused)
        return Counts(*requests, features)

    def _is_behind(self, earlier: Counts) -> bool:
        if self.requests < earlier.requests or self.failed < earlier.failed or self.refused < earlier.refused:
            return True
        pairs = ((self.features.get(name, ()), bins) for name, bins in earlier.features.items())
        return any(len(now) != len(then) or any(map(float.__lt__, now, then)) for now, then in pairs)


def read_counts(text: str, reference: Reference, model: str, version: str, track: str = "live") -> Counts:
    """Read the counts of one release on one track from a server's answer.

    Parameters
    ----------
    text : str
        In Prometheus' text format.
    reference : Reference
        Of the release: a feature or bin that it does not name is passed over.
    """
    from prometheus_client.parser import text_string_to_metric_families

    found = {each.name: [0.0] * each.bins.count for each in reference.features}
    wanted = {"model": model, "version": version.removeprefix("v"), "track": track}
    counted, statuses = set(), Counter[str]()
    truth: dict[tuple[str, int], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if any(sample.labels.get(name) != value for name, value in wanted.items()):
                continue
            if sample.name == REQUESTS:
                statuses[sample.labels["status"]] += int(sample.value)
            elif sample.name == FEATURE:
                add_sample(found, sample.labels, sample.value)
                counted.add(sample.labels["feature"])
            elif sample.name == TRUTH and sample.labels["bin"].isdecimal():
                truth[sample.labels["counted"], int(sample.labels["bin"])] = sample.value
    counts = Counts.of(statuses, {name: tuple(bins) for name, bins in found.items() if name in counted})
    return replace(counts, truth=truth_of(truth))


def truth_of(values: Mapping[tuple[str, int], float]) -> dict[str, Bins]:
    """Sort what is counted of answers whose truth came, by its name and bin."""
    size = max((place for _, place in values), default=-1) + 1
    names = dict.fromkeys(name for name, _ in values)
    return {name: tuple(values.get((name, place), 0.0) for place in range(size)) for name in names}


def truth_since(now: Mapping[str, Bins], earlier: Mapping[str, Bins]) -> Mapping[str, Bins]:
    """Return what came since; all of it, where servers began anew meanwhile."""
    came = {
        name: tuple(a - b for a, b in zip(bins, earlier.get(name) or (0.0,) * len(bins), strict=False))
        for name, bins in now.items()
    }
    fits = all(len(earlier.get(name, bins)) == len(bins) for name, bins in now.items())
    return came if fits and all(value >= 0 for bins in came.values() for value in bins) else now


def add_sample(found: Mapping[str, list[float]], labels: Mapping[str, str], value: float) -> None:
    """Add what one sample says to the bins of its feature."""
    bins, place = found.get(labels.get("feature", ""), []), labels.get("bin", "")
    if place.isdecimal() and int(place) < len(bins):
        bins[int(place)] += value
