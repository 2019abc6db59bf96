"""Quality that is known, since the truth is: beside what a release reached on its test rows.

Both are samples, so they differ by chance. What chance explains is told by their intervals; how much of the false
alarms of a month a comparison may spend, by how much of a month lies behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import hypot
from statistics import NormalDist

from pipeline.delivery.releases import Release
from pipeline.messages import count
from pipeline.runs.prequential import Point
from pipeline.spec.catalogue.metrics import METRICS
from pipeline.steps.evaluate.results import Estimate

_TWO_SIDED_95 = 1.96
_MONTH_S = 30 * 86_400.0
_FIRST_S = 86_400.0
"""What a first commit spends where nobody knows when the one before it was made."""


@dataclass(frozen=True)
class Known:
    """A metric, computed from what came true.

    Attributes
    ----------
    value, low, high : float
        And its interval of 95 %.
    reference : float
        What the release reached on its test rows.
    chance : float
        Probability of a value so much worse if nothing has changed.
    level : float
        Probability below which chance is ruled out.
    rows : int
        What it is computed from.
    data_commit : str or None
        The commit that these rows came with; None for answers whose truth callers told.
    captured : bool
        Whether it is of captured answers, whose truth came with that commit.
    tolerated : float
        Share of ``reference`` by which it may be worse: of many rows the smallest loss is more than chance.
    """

    metric: str
    value: float
    low: float
    high: float
    reference: float
    chance: float
    level: float
    rows: int
    data_commit: str | None = None
    captured: bool = False
    tolerated: float = 0.0

    @property
    def worse(self) -> bool:
        """Whether it is worse than on the test rows by more than is tolerated, and chance does not explain it."""
        return self.chance < self.level and abs(self.value - self.reference) > self.tolerated * abs(self.reference)

    @property
    def text(self) -> str:
        """The same in words."""
        interval = f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"
        ending = ": worse" if self.worse else ""
        where = f"{count(self.rows, 'answer')} whose truth came"
        if self.data_commit:
            rows = (
                f"{count(self.rows, 'captured answer')}"
                if self.captured
                else f"{self.rows:,} rows that it has never seen"
            )
            where = f"{rows} (data {self.data_commit[:10]})"
        return f"{self.metric} {interval} on {where}, on its test rows {self.reference:.3f}{ending}"


def judge_newest(
    points: Sequence[Point], live: Release, named: Sequence[str], budget: float, *, captured: bool = False
) -> tuple[Known, ...]:
    """Hold what a release reached on the newest rows against what it reached on its test rows.

    Parameters
    ----------
    points : sequence of Point
        By the time of their commits.
    named : sequence of str
        Metrics; all if there are none.
    budget : float
        Probability of a false alarm in a month, of each metric.
    captured : bool
        Whether the points are of captured answers.
    """
    points = [each for each in points if each.rows]
    if not points:
        return ()
    newest = points[-1]
    before = points[-2].at if len(points) > 1 else _made_at(live)
    seconds = _FIRST_S if before is None else max(newest.at - before, 0.0)
    level = budget * min(1.0, seconds / _MONTH_S)
    tested = {name: Estimate(**each) for name, each in live.evidence.metrics.items()}
    compared = ((name, newest.metrics[name], tested[name]) for name in named or tested if name in newest.metrics)
    found = (_compare(name, now, then, level, newest) for name, now, then in compared if name in tested)
    return tuple(replace(each, captured=captured) for each in found if each is not None)


def _made_at(live: Release) -> float | None:
    return datetime.fromisoformat(live.evidence.data_time).timestamp() if live.evidence.data_time else None


def _compare(name: str, now: Estimate, then: Estimate, level: float, point: Point) -> Known | None:
    """Compare two estimates; None without their intervals, since then nothing tells chance."""
    if now.value is None or now.low is None or now.high is None:
        return None
    if then.value is None or then.low is None or then.high is None:
        return None
    chance = chance_of(name, now.value - then.value, hypot(now.high - now.low, then.high - then.low) / 2)
    return Known(name, now.value, now.low, now.high, then.value, chance, level, point.rows, point.data_commit)


def chance_of(metric: str, difference: float, half_width: float) -> float:
    """Compute the probability of a metric so much worse, by the half of the 95 % interval of the difference."""
    loss = -difference if METRICS[metric].greater_is_better else difference
    if half_width <= 0:
        return 1.0 if loss <= 0 else 0.0
    return 1 - NormalDist().cdf(loss / half_width * _TWO_SIDED_95)
