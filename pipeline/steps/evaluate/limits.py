"""What a model is not good for, as far as the numbers tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pipeline.spec.catalogue.metrics import METRICS
from pipeline.steps.evaluate.results import Estimate, Evaluation, Slice

MAX_SLICES = 5


def describe_limits(
    evaluation: Evaluation,
    *,
    quarantined: int,
    read: int,
    known_categories: Mapping[str, int],
    watched: Sequence[str],
    counted: int = 0,
) -> list[str]:
    """Say where the model should not be trusted, one sentence each.

    Parameters
    ----------
    quarantined, read : int
        Rows that broke the data's contract, of how many.
    known_categories : mapping of str to int
        Text column → categories that the model tells apart.
    watched : sequence of str
        Metrics that are watched once the model is live.
    counted : int
        Most columns that a server counts of what it is asked.
    """
    return [
        *_describe_worse_slices(evaluation),
        *(f"{note[:1].upper()}{note[1:]}." for note in evaluation.notes),
        *_describe_quarantine(quarantined, read),
        *(
            f"Of {column}, {count:,} values are told apart; any other counts as unseen."
            for column, count in known_categories.items()
        ),
        _describe_watch(watched, counted),
    ]


def _describe_worse_slices(evaluation: Evaluation) -> Iterator[str]:
    """Name the slices whose whole interval is on the bad side of the interval of all rows, the worst first."""
    metric, overall = next(iter(evaluation.metrics.items()), ("", Estimate(None)))
    if overall.value is None or not evaluation.slices:
        return
    judged = [
        (column, value, each)
        for column, values in evaluation.slices.items()
        for value, each in values.items()
        if not each.few
    ]
    sign = 1 if METRICS[metric].greater_is_better else -1
    worse = [each for each in judged if _is_worse(each[2].metrics[metric], overall, sign)]
    worse.sort(key=lambda each: sign * _value(each[2], metric))
    for column, value, each in worse[:MAX_SLICES]:
        found = each.metrics[metric].value
        yield (
            f"Notably worse where {column} is {value}: {metric} {found:.4g} "
            f"against {overall.value:.4g} overall ({each.rows:,} rows)."
        )
    if len(worse) > MAX_SLICES:
        yield f"{len(worse) - MAX_SLICES} more slices are notably worse than all rows together."
    if not worse:
        yield f"Of {len(judged)} slices with enough rows, none is notably worse in {metric} than all rows together."


def _is_worse(part: Estimate, whole: Estimate, sign: int) -> bool:
    """Say whether two intervals do not meet, and the part's is the worse one."""
    if part.low is None or part.high is None or whole.low is None or whole.high is None:
        return False
    return part.high < whole.low if sign > 0 else part.low > whole.high


def _value(part: Slice, metric: str) -> float:
    return part.metrics[metric].value or 0.0


def _describe_quarantine(quarantined: int, read: int) -> Iterator[str]:
    if quarantined:
        yield (
            f"{quarantined:,} of {read:,} rows ({quarantined / read:.2%}) broke the data's contract and were neither "
            "learnt from nor judged on: what the model makes of such records is unknown."
        )


def _describe_watch(watched: Sequence[str], counted: int) -> str:
    if watched:
        return f"Once live, {', '.join(watched)} should be watched; nothing here says how the model does on newer data."
    if counted:
        return (
            f"Once live, what is asked is counted beside the training rows (up to {counted:,} columns, and the "
            "predictions); nothing here says how the model does on newer data."
        )
    return "Nothing is watched once the model is live (monitoring.metrics); its quality on newer data is unknown."
