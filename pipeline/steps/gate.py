"""The gate: whether a model may be released, and why.

Pure: metrics of the candidate and of the live release (the champion), on the same test rows, against the bounds of
``evaluate.gate``. A bound that is met exactly is met; numbers that agree to twelve digits count as equal, as a metric
is itself a rounded sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Protocol

from pipeline.messages import count
from pipeline.spec.catalogue.metrics import METRICS
from pipeline.spec.schema.spec import Bound

_AGREEMENT = 1e-12  # relative


class EstimateLike(Protocol):
    """A metric's value and its interval; None where undefined."""

    @property
    def value(self) -> float | None:
        """The metric over all rows."""

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""


Estimates = Mapping[str, EstimateLike]


@dataclass(frozen=True)
class Line:
    """One bound of the gate, and how the candidate stands to it.

    Attributes
    ----------
    rule : str
        The key in the spec: ``at_least``, ``at_most``, ``behind_champion_at_most`` or ``ahead_of_champion_at_least``;
        ``min_rows`` for the number of test rows.
    value : float or None
        What was compared with the limit: the metric, or its distance from the champion's; None if undefined.
    text : str
        The reason, in plain words.
    """

    metric: str
    rule: str
    value: float | None
    limit: float
    passed: bool
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether the candidate is released, and a reason for each bound."""

    promote: bool
    lines: tuple[Line, ...]
    summary: str

    def to_json(self) -> dict[str, Any]:
        """Write plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Read what ``to_json`` gave."""
        return cls(data["promote"], tuple(Line(**each) for each in data["lines"]), data["summary"])


@dataclass(frozen=True)
class Rows:
    """How many test rows there are, and how many there must be at least."""

    found: int
    fewest: int


@dataclass(frozen=True)
class _Case:
    """One bound and all that its judgement needs."""

    metric: str
    rule: str
    limit: float
    candidate: EstimateLike | None
    champion: EstimateLike | None
    has_champion: bool
    trouble: str


def judge(
    candidate: Estimates,
    champion: Estimates | None,
    gate: Mapping[str, Bound],
    trouble: str = "",
    rows: Rows | None = None,
) -> Verdict:
    """Decide whether the candidate may be released.

    Parameters
    ----------
    candidate : mapping of str to Estimate-like
    champion : mapping of str to Estimate-like or None
        The live release on the same rows; None if there is none, or if it could not be evaluated.
    gate : mapping of str to Bound
        Empty: everything is released.
    trouble : str
        Why there is a live release that could not be evaluated. Bounds against it then fail: nothing shows that the
        candidate keeps them.
    rows : Rows or None
        How many test rows there are; None if that is not asked.

    Returns
    -------
    Verdict
        With one line for each bound, in the order of the gate, after one for too few rows.
    """
    bounds = [(metric, rule, getattr(bound, rule)) for metric, bound in gate.items() for rule in _RULES]
    known = champion or {}
    cases = [
        _Case(metric, rule, limit, candidate.get(metric), known.get(metric), champion is not None, trouble)
        for metric, rule, limit in bounds
        if limit is not None
    ]
    lines = (*_judge_rows(rows), *(_RULES[case.rule](case) for case in cases))
    missed = sum(not line.passed for line in lines)
    return Verdict(promote=not missed, lines=lines, summary=_summarize(len(lines), missed))


def _judge_rows(rows: Rows | None) -> Iterator[Line]:
    if rows is not None and rows.found < rows.fewest:
        told = f"{count(rows.found, 'test row')} instead of at least {rows.fewest} (evaluate.min_rows): failed"
        yield Line("rows", "min_rows", rows.found, rows.fewest, passed=False, text=told)


def _summarize(bounds: int, missed: int) -> str:
    if not bounds:
        return "there is no gate (evaluate.gate), so any model may be released"
    if missed:
        return f"{missed} of {bounds} bounds of the gate {'is' if missed == 1 else 'are'} missed: not released"
    return "the one bound of the gate is kept" if bounds == 1 else f"all {bounds} bounds of the gate are kept"


def _judge_at_least(case: _Case) -> Line:
    return _judge_value(case, "at least", lambda value: _reaches(value, case.limit, abs(case.limit)))


def _judge_at_most(case: _Case) -> Line:
    return _judge_value(case, "at most", lambda value: _reaches(case.limit, value, abs(case.limit)))


def _judge_value(case: _Case, relation: str, test: Callable[[float], bool]) -> Line:
    """Compare the metric itself with the limit."""
    value = _value(case.candidate)
    if value is None or case.candidate is None:
        return _undefined(case)
    passed = test(value)
    verb = "is" if passed else "is not"
    shown = f"{_show(value, case.limit, passed)}{_show_interval(case.candidate)}"
    return _line(case, value, passed, f"{case.metric} {shown} {verb} {relation} {_number(case.limit)}")


def _judge_behind(case: _Case) -> Line:
    return _judge_lead(case, lambda lead, scale: _reaches(case.limit, -lead, scale), "at most {} behind is allowed", -1)


def _judge_ahead(case: _Case) -> Line:
    return _judge_lead(case, lambda lead, scale: _reaches(lead, case.limit, scale), "at least {} ahead is asked for", 1)


def _judge_lead(case: _Case, test: Callable[[float, float], bool], demand: str, sign: int) -> Line:
    """Compare the distance from the champion's metric with the limit; its sign says which is better."""
    value, against = _value(case.candidate), _value(case.champion)
    if value is None:
        return _undefined(case)
    if case.trouble and not case.has_champion:
        return _line(case, None, False, f"{case.metric}: the live release could not be evaluated ({case.trouble})")
    if not case.has_champion:
        return _line(case, None, True, f"{case.metric}: there is no other release to compare with")
    if against is None:
        return _line(case, None, False, f"{case.metric} is undefined for the live release")
    lead = (value - against) if METRICS[case.metric].greater_is_better else (against - value)
    passed = test(lead, max(abs(value), abs(against)))
    place = _describe_lead(lead, sign * case.limit, passed)
    text = f"{case.metric} {_number(value)} is {place} {_number(against)}; {demand.format(_number(case.limit))}"
    return _line(case, sign * lead, passed, text)


def _describe_lead(lead: float, limit: float, passed: bool) -> str:  # noqa: FBT001
    """Say the distance: ahead is better, whichever direction the metric goes."""
    if lead == 0:
        return "level with the live release's"
    direction = "ahead of" if lead > 0 else "behind"
    alike = passed or lead * limit <= 0
    return f"{_show(abs(lead), abs(limit), alike)} {direction} the live release's"


def _undefined(case: _Case) -> Line:
    found = "was not computed (evaluate.metrics)" if case.candidate is None else "is undefined on the test rows"
    return _line(case, None, False, f"{case.metric} {found}, so its bound cannot be kept")


def _line(case: _Case, value: float | None, passed: bool, text: str) -> Line:  # noqa: FBT001
    return Line(case.metric, case.rule, value, case.limit, passed, f"{text}: {'passed' if passed else 'failed'}")


def _value(estimate: EstimateLike | None) -> float | None:
    if estimate is None or estimate.value is None or not isfinite(estimate.value):
        return None
    return float(estimate.value)


def _reaches(value: float, limit: float, scale: float) -> bool:
    """Say whether value ≥ limit, up to the rounding of numbers of that scale."""
    return value >= limit - _AGREEMENT * max(scale, abs(limit))


def _show(value: float, limit: float, passed: bool) -> str:  # noqa: FBT001
    """Write a number with four digits, or with all where a bound that it misses would read the same."""
    short = _number(value)
    return repr(value) if not passed and short == _number(limit) else short


def _show_interval(estimate: EstimateLike) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{_number(estimate.low)}, {_number(estimate.high)}]"


def _number(value: float) -> str:
    return f"{value:.4g}"


_RULES: Mapping[str, Callable[[_Case], Line]] = {
    "at_least": _judge_at_least,
    "at_most": _judge_at_most,
    "behind_champion_at_most": _judge_behind,
    "ahead_of_champion_at_least": _judge_ahead,
}
