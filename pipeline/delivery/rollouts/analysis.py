"""Is a canary worse than its baseline? Three tests, each with a limit below which a difference does not matter.

A metric counts as worse if it differs by more than its limit *and* by more than chance explains. The level of chance
is shared among the metrics and among all looks: look k has 1 / (k (k + 1)) of it, which adds up to no more than one
however often one looks. So a canary that equals its baseline is aborted with at most the probability
``deploy.canary.false_alarm``, by whatever number of looks.

A metric that differs by more than its limit while chance is not ruled out is in doubt: the canary waits for more
requests. Otherwise a fault that few requests cannot prove would pass as good.

Each request counts once, whatever number of rows it has, since rows of one request are not independent observations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt

from pipeline.delivery.rollouts.readings import Reading
from pipeline.serving.observing.bounds import BUCKETS_S

_BINS = 10
"""Most bins of predictions; more make the test blunt."""
_FEWEST_IN_BIN = 10
"""Fewest predictions in a bin, of both tracks together; fewer are put to their neighbours'."""


@dataclass(frozen=True)
class Comparison:
    """One metric of the canary against its baseline's.

    Attributes
    ----------
    value, limit : float
        How much worse the canary is, and how much worse it may be.
    chance : float
        Probability of such a difference between two that are equal (one-sided).
    level : float
        Probability below which chance is ruled out.
    text : str
        The same in words.
    """

    metric: str
    value: float
    limit: float
    chance: float
    level: float
    text: str

    @property
    def worse(self) -> bool:
        """Whether the canary must not go on."""
        return self._is_beyond and self.chance < self.level

    @property
    def in_doubt(self) -> bool:
        """Whether it seems worse, and more requests must tell."""
        return self._is_beyond and not self.worse

    @property
    def _is_beyond(self) -> bool:
        return self.value > self.limit


@dataclass(frozen=True)
class Analysis:
    """What is known of a canary.

    Attributes
    ----------
    requests : int
        Of the canary.
    compared : tuple of Comparison
        Of the metrics for which both have enough requests.
    missing : tuple of str
        The other metrics.
    """

    requests: int
    compared: tuple[Comparison, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def worse(self) -> tuple[Comparison, ...]:
        """List the metrics in which the canary is worse."""
        return tuple(each for each in self.compared if each.worse)

    @property
    def in_doubt(self) -> tuple[Comparison, ...]:
        """List the metrics that are in doubt."""
        return tuple(each for each in self.compared if each.in_doubt)


def analyse(
    canary: Reading,
    baseline: Reading,
    limits: Mapping[str, float],
    *,
    min_requests: int,
    false_alarm: float,
    look: int,
) -> Analysis:
    """Compare a canary with its baseline.

    Parameters
    ----------
    limits : mapping
        Metric (a key of `TESTS`) → how much worse the canary may be.
    min_requests : int
        Of each of both, below which a metric is not compared.
    look : int
        Number of this look, from 1.
    """
    known = [name for name in limits if min(map(TESTS[name].size, (canary, baseline))) >= min_requests]
    level = level_of(look, false_alarm) / len(limits)
    compared = (TESTS[name].compare(canary, baseline, limits[name], level) for name in known)
    missing = (name for name in limits if name not in known)
    return Analysis(canary.requests, tuple(compared), tuple(missing))


def level_of(look: int, false_alarm: float) -> float:
    """Compute the part of the probability of a false alarm that one look may spend; all parts add up to it."""
    return false_alarm / (look * (look + 1))


def compare_errors(canary: Reading, baseline: Reading, limit: float, level: float) -> Comparison:
    """Compare the shares of failed requests, by Fisher's exact test."""
    from scipy.stats import fisher_exact

    table = [[each.failed, each.requests - each.failed] for each in (canary, baseline)]
    chance = float(fisher_exact(table, alternative="greater").pvalue)
    ours, theirs = (each.failed / each.requests for each in (canary, baseline))
    text = (
        f"errors: {ours:.2%} of {canary.requests} requests failed, {theirs:.2%} of the baseline's {baseline.requests}"
    )
    return _comparison("errors", ours - theirs, limit, chance, level, f"{text}; at most {limit:.2%} more is allowed")


def compare_latency(canary: Reading, baseline: Reading, limit: float, level: float) -> Comparison:
    """Compare the durations of requests, by the test of Mann and Whitney; how much longer, by their geometric means."""
    bounds = sorted({*canary.durations, *baseline.durations})
    ours, theirs = ([each.durations.get(bound, 0) for bound in bounds] for each in (canary, baseline))
    typical_s = [_typical_s(each.durations) for each in (canary, baseline)]
    ratio = typical_s[0] / typical_s[1]
    text = (
        f"latency: {typical_s[0] * 1e3:.3g} ms is typical, {typical_s[1] * 1e3:.3g} ms of the baseline; at most"
        f" {limit:g} times as long is allowed"
    )
    return _comparison("latency", ratio, limit, rank_chance(ours, theirs), level, text)


def compare_outputs(canary: Reading, baseline: Reading, limit: float, level: float) -> Comparison:
    """Compare the predictions, by the population stability index.

    Between two samples of the same, it is chi-square distributed, times 1/n + 1/m (Yurdakul and Naranjo, "Statistical
    properties of the population stability index", 2020).
    """
    from scipy.stats import chi2

    ours, theirs = binned(canary.outputs, baseline.outputs)
    index = stability_index(ours, theirs)
    scale = 1 / sum(ours) + 1 / sum(theirs)
    chance = float(chi2.sf(index / scale, len(ours) - 1)) if len(ours) > 1 else 1.0
    text = f"outputs: the predictions' stability index (PSI) is {index:.3g}; at most {limit:g} is allowed"
    return _comparison("outputs", index, limit, chance, level, text)


@dataclass(frozen=True)
class Test:
    """How a metric is compared.

    Attributes
    ----------
    size : callable
        Number of observations in a reading.
    compare : callable
        The canary, its baseline, the limit and the level → the comparison.
    """

    size: Callable[[Reading], int]
    compare: Callable[[Reading, Reading, float, float], Comparison]


TESTS: Mapping[str, Test] = {
    "errors": Test(lambda reading: reading.requests, compare_errors),
    "latency": Test(lambda reading: sum(reading.durations.values()), compare_latency),
    "outputs": Test(lambda reading: sum(reading.outputs.values()), compare_outputs),
}


def rank_chance(ours: Sequence[int], theirs: Sequence[int]) -> float:
    """Compute the probability that ours are so much larger by chance: Mann and Whitney's test on histograms.

    The values of a bucket are ties. `scipy.stats.mannwhitneyu` gives the same, but wants each value by itself.

    Parameters
    ----------
    ours, theirs : sequence of int
        Counts in the same buckets, in their order.
    """
    from scipy.stats import norm

    n, m = sum(ours), sum(theirs)
    if not n or not m:
        return 1.0
    before, wins = 0, 0.0
    for mine, other in zip(ours, theirs, strict=True):
        wins += mine * (before + other / 2)
        before += other
    ties = sum((t := mine + other) ** 3 - t for mine, other in zip(ours, theirs, strict=True))
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1)))
    return float(norm.sf((wins - n * m / 2 - 0.5) / sqrt(variance))) if variance > 0 else 1.0


def stability_index(ours: Sequence[int], theirs: Sequence[int]) -> float:
    """Compute the population stability index of two histograms; half a count is added to each bin."""
    n, m = (sum(each) + len(each) / 2 for each in (ours, theirs))
    shares = (((mine + 0.5) / n, (other + 0.5) / m) for mine, other in zip(ours, theirs, strict=True))
    return sum((p - q) * log(p / q) for p, q in shares)


def binned(ours: Mapping[float, int], theirs: Mapping[float, int]) -> tuple[list[int], list[int]]:
    """Put neighbouring cells together: few different outputs stay apart, many become bins of about the same size."""
    cells = sorted({*ours, *theirs})
    pooled = sum(ours.values()) + sum(theirs.values())
    fewest = max(_FEWEST_IN_BIN, pooled / _BINS if len(cells) > _BINS else 0)
    bins = [[0, 0]]
    for cell in cells:
        if sum(bins[-1]) >= fewest:
            bins.append([0, 0])
        bins[-1][0] += ours.get(cell, 0)
        bins[-1][1] += theirs.get(cell, 0)
    if len(bins) > 1 and sum(bins[-1]) < _FEWEST_IN_BIN:
        last = bins.pop()
        bins[-1] = [a + b for a, b in zip(bins[-1], last, strict=True)]
    return [mine for mine, _ in bins], [other for _, other in bins]


def _typical_s(durations: Mapping[float, int]) -> float:
    """Compute the geometric mean, which a single stall hardly moves; a request counts as the middle of its bucket."""
    bounds = sorted({*BUCKETS_S, inf, *durations})
    middles = {high: _middle(low, high) for low, high in zip([0.0, *bounds], bounds, strict=False)}
    return exp(sum(count * log(middles[bound]) for bound, count in durations.items()) / sum(durations.values()))


def _middle(low: float, high: float) -> float:
    if high == inf:
        return 2 * low
    return sqrt(low * high) if low else high / 2


def _comparison(metric: str, value: float, limit: float, chance: float, level: float, text: str) -> Comparison:
    odds = f"by chance with a probability of {chance:.1g}, ruled out below {level:.1g}"
    return Comparison(metric, value, limit, chance, level, f"{text} ({odds})")
