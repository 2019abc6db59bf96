"""What happens next in a rollout: pure, so that any process can go on from what the last one recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from pipeline.delivery.rollouts.analysis import Analysis
from pipeline.spec.schema.deploy import Canary

Verdict = Literal["promote", "abort"]


@dataclass(frozen=True)
class Rollout:
    """A rollout as it is written down between two looks.

    Attributes
    ----------
    candidate, stable : str
        Tags of the release that shall be live, and of the one that is.
    image : str
        Of the candidate, where the platform runs images.
    began : float
        Seconds since 1970; the deadline counts from here, whoever goes on with it.
    step : int
        Index of the step; -1 while the candidate gets no requests yet.
    since : float
        When the step's weight was reached.
    answered : int
        The canary's requests at that time.
    looks : int
        How often it was analysed; each look costs some of the probability of a false alarm.
    verdict : str or None
        What was decided and must be brought to its end.
    why : str
        The reason.
    """

    candidate: str
    stable: str
    image: str
    began: float
    step: int = -1
    since: float = 0.0
    answered: int = 0
    looks: int = 0
    verdict: Verdict | None = None
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Write plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Rollout:
        """Read what ``to_json`` gave; what a later version added is left out."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in data.items() if key in known})


@dataclass(frozen=True)
class Seen:
    """What one look found.

    Attributes
    ----------
    ready : bool
        Whether all that the step asks for is up.
    trouble : str or None
        Why the candidate will never be up.
    analysis : Analysis
        Of what was answered so far.
    missing : str
        What is not up, in words.
    """

    ready: bool
    analysis: Analysis
    trouble: str | None = None
    missing: str = "the canary was not ready"


@dataclass(frozen=True)
class Action:
    """What to do next.

    Attributes
    ----------
    kind : str
        ``wait``, ``shift`` to the next step, ``promote`` or ``abort``.
    why : str
        The reason, in words.
    weight : int
        For ``shift``: the canary's part of the requests, in percent.
    """

    kind: Literal["wait", "shift", "promote", "abort"]
    why: str
    weight: int = 0


def next_rollout_action(rollout: Rollout, seen: Seen, plan: Canary, now: float) -> Action:
    """Decide what happens next: a verdict is final; else a fault, a worse metric or the deadline aborts.

    Parameters
    ----------
    now : float
        Seconds since 1970.
    """
    if rollout.verdict:
        return Action(rollout.verdict, rollout.why)
    if seen.trouble:
        return Action("abort", seen.trouble)
    if worse := seen.analysis.worse:
        return Action("abort", "; ".join(each.text for each in worse))
    lacking = _lacking(rollout, seen, plan, now)
    upcoming = plan.steps[rollout.step + 1 :]
    if not lacking and not upcoming:
        return Action("promote", "; ".join(each.text for each in seen.analysis.compared))
    if now >= rollout.began + plan.deadline_s:
        reason = lacking or "another step was to come"
        return Action("abort", f"{reason} when the deadline of {plan.deadline_s} s was over (deploy.canary.deadline_s)")
    if lacking:
        return Action("wait", lacking)
    return Action("shift", f"{upcoming[0].weight} % of the requests", upcoming[0].weight)


def _lacking(rollout: Rollout, seen: Seen, plan: Canary, now: float) -> str | None:
    """Say what the step still waits for; None if it is through."""
    if not seen.ready:
        return seen.missing
    if rollout.step < 0:
        return None
    left_s = rollout.since + plan.steps[rollout.step].hold_s - now
    if left_s > 0:
        return f"{left_s:.0f} s of the step were left"
    fresh = seen.analysis.requests - rollout.answered
    if fresh < plan.min_requests:
        return f"{fresh} of {plan.min_requests} requests were answered in the step"
    if seen.analysis.missing:
        return f"too little was known of {' and '.join(seen.analysis.missing)}"
    if doubts := seen.analysis.in_doubt:
        return f"more requests had to tell: {'; '.join(each.text for each in doubts)}"
    return None


def after(rollout: Rollout, action: Action, seen: Seen, now: float) -> Rollout:
    """Return the rollout as it must be recorded *before* the action is done.

    So a process that is killed between the two leaves an action to be done again, never one that nobody knows of. The
    time of a step, and its requests, count from when all of it was ready.
    """
    answered = seen.analysis.requests
    rollout = replace(rollout, looks=rollout.looks + bool(seen.analysis.compared))
    if action.kind == "promote" or action.kind == "abort":  # so that the type is known
        return replace(rollout, verdict=action.kind, why=action.why)
    if action.kind == "shift":
        return replace(rollout, step=rollout.step + 1, since=now, answered=answered)
    return rollout if seen.ready else replace(rollout, since=now, answered=answered)
