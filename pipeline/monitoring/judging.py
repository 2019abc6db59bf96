"""One window of a live release, judged: its service, its data, and its quality as far as scores tell it.

`monitoring.false_alarm` is the probability of any false alarm in a month. Each look may spend as much of it as its
window is of a month, so it does not matter how often one looks; within a look it is shared among all that is compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.model.reference import Reference, ReferenceFeature
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.drift import Moved, compare
from pipeline.monitoring.quality import Estimate, estimate_quality
from pipeline.monitoring.truth import Known
from pipeline.spec.schema.spec import Monitoring

MONTH_S = 30 * 86_400.0
_REFUSED = 0.05
"""Share of requests that callers may get wrong."""
_FIRST_S = 86_400.0
"""What a first look spends, whose window began with the servers."""

_WHOLE_S: Mapping[str, float] = {"hour": 86_400.0, "weekday": 7 * 86_400.0}
"""Reading of a time → how long a window must be to hold all of its bins."""

Verdict = Literal["quiet", "waiting", "failures", "refusals", "quality", "drift"]


@dataclass(frozen=True)
class Share:
    """The share of requests that were not answered, beside what is allowed.

    Attributes
    ----------
    chance : float
        Probability of so many if only the allowed share is not answered.
    """

    share: float
    allowed: float
    chance: float
    level: float

    @property
    def broken(self) -> bool:
        """Whether it is more than is allowed, and chance does not explain it."""
        return self.share > self.allowed and self.chance < self.level


@dataclass(frozen=True)
class Judgement:
    """What a window says.

    Attributes
    ----------
    seconds : float or None
        How long the window is; None if it began with the servers.
    failed, refused : Share or None
        Of the requests; None if there are too few to tell.
    features : tuple of Moved
        Beside the reference, the most important first.
    sudden : tuple of Moved
        Beside the window before.
    known : tuple of Known
        Quality, from what came true.
    """

    requests: int
    rows: int
    seconds: float | None
    failed: Share | None = None
    refused: Share | None = None
    features: tuple[Moved, ...] = ()
    sudden: tuple[Moved, ...] = ()
    quality: tuple[Estimate, ...] = ()
    known: tuple[Known, ...] = ()

    @property
    def is_told(self) -> bool:
        """Whether there were enough requests to judge the window."""
        return self.failed is not None

    @property
    def verdict(self) -> Verdict:
        """The worst that was found; ``waiting`` if there are too few requests to tell, and quality says nothing."""
        if self.failed is not None and self.failed.broken:
            return "failures"
        if self.refused is not None and self.refused.broken:
            return "refusals"
        if any(each.worse for each in self.known):
            return "quality"
        if not self.is_told:
            return "waiting"
        return "drift" if any(each.drifted for each in (*self.features, *self.sudden)) else "quiet"


def judge(
    window: Counts,
    reference: Reference,
    rules: Monitoring,
    seconds: float | None,
    before: Counts | None = None,
    known: tuple[Known, ...] = (),
) -> Judgement:
    """Judge a window.

    Parameters
    ----------
    seconds : float or None
        Since the window began; None if it began with the servers.
    before : Counts, optional
        The window before.
    known : tuple of Known
        What is known of the quality: it shares the false alarms.
    """
    requests, rows = window.requests, _rows(window)
    if requests < rules.min_requests:
        return Judgement(requests, rows, seconds, known=known)
    compared = [each for each in reference.features if _is_told(each, window, seconds)]
    then = {each.name: [share * each.rows for share in each.shares] for each in compared}
    earlier = {name: before.features[name] for name in then if before and sum(before.features.get(name, ()))}
    level = rules.false_alarm * min(1.0, (seconds or _FIRST_S) / MONTH_S) / (2 + len(then) + len(earlier) + len(known))
    features = tuple(_moved(name, rows_then, window, rules, level) for name, rows_then in then.items())
    sudden = tuple(_moved(name, rows_then, window, rules, level) for name, rows_then in earlier.items())
    return Judgement(
        requests,
        rows,
        seconds,
        judge_share(window.failed, requests, 1 - rules.availability, level),
        judge_share(window.refused, requests, _REFUSED, level),
        features,
        sudden,
        estimate_quality(window, reference),
        known,
    )


def budget_of(rules: Monitoring, reference: Reference, metrics: int) -> float:
    """Compute what each comparison of a metric may spend of a month's false alarms, beside all that a look compares."""
    return rules.false_alarm / (2 + 2 * len(reference.features) + metrics)


def _is_told(feature: ReferenceFeature, window: Counts, seconds: float | None) -> bool:
    """Tell whether a window can be compared: five minutes hold one hour of the day, whatever is asked then."""
    whole = (seconds or 0.0) >= _WHOLE_S.get(feature.reading, 0.0)
    return bool(whole and feature.rows and sum(window.features.get(feature.name, ())))


def judge_share(number: int, requests: int, allowed: float, level: float) -> Share:
    """Hold the share of some requests against what is allowed, by the binomial distribution."""
    from scipy.special import bdtrc

    chance = float(bdtrc(number - 1, requests, allowed)) if number else 1.0
    return Share(number / requests, allowed, chance, level)


def _moved(name: str, then: Sequence[float], window: Counts, rules: Monitoring, level: float) -> Moved:
    weight = min(1.0, window.answered / max(_rows(window), 1))
    return compare(name, then, window.features[name], limit=rules.max_drift, level=level, weight=weight)


def _rows(window: Counts) -> int:
    """Count the rows that were answered: each has one bin of each feature."""
    return int(max((sum(bins) for bins in window.features.values()), default=0))
