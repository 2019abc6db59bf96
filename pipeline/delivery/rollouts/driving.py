"""Brings a rollout to its end. Each turn keeps the weight that was decided, looks, decides, and records the decision.

What is done next depends on nothing but what was recorded, so any process may continue a rollout, however often it was
interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pipeline.delivery.rollouts.analysis import Analysis, analyse
from pipeline.delivery.rollouts.deciding import Rollout, Seen, after, next_rollout_action
from pipeline.delivery.rollouts.readings import NOTHING, Reading
from pipeline.errors import AbortedError, TransientError
from pipeline.spec.schema.deploy import Canary

PATIENCE_S = 120.0
"""Longest time for which a platform that does not answer is asked again; then the next try goes on."""
_SOON_S = 1.0
"""Pause while something comes up, or does not answer."""

T = TypeVar("T")


@dataclass(frozen=True)
class Sight:
    """What a platform says of both tracks.

    Attributes
    ----------
    ready : bool
        Whether all that was asked for is up.
    canary, baseline : Reading
        Since the rollout began.
    trouble : str or None
        Why the canary will never be up.
    missing : str
        What is not up, in words.
    """

    ready: bool
    canary: Reading = NOTHING
    baseline: Reading = NOTHING
    trouble: str | None = None
    missing: str = Seen.missing


class Tracks(Protocol):
    """A candidate next to what is live, on some platform; each method may be called again at any time.

    Raises
    ------
    TransientError
        From every method, if the platform does not answer now.
    DeploymentError
        From every method, if somebody else has changed what is live.
    """

    def keep(self, weight: int) -> Sight:
        """Send the canary so many percent of the requests (0: it is only started); return how both tracks are."""

    def save(self, rollout: Rollout) -> None:
        """Record how far the rollout is, for whichever process continues it."""

    def promote(self) -> None:
        """Make the candidate what is live, and remove the canary."""

    def abort(self) -> None:
        """Take all requests from the canary, then remove it; what is live stays as it is."""


def drive(
    rollout: Rollout,
    tracks: Tracks,
    plan: Canary,
    *,
    now: Callable[[], float] = time.time,
    pause: Callable[[float], None] = time.sleep,
) -> Rollout:
    """Go on with a rollout until its candidate is live.

    Parameters
    ----------
    now, pause : callable
        The clock, in seconds since 1970, and how to wait.

    Raises
    ------
    AbortedError
        If the candidate was taken back; what was live stays live.
    TransientError
        If the platform is away for longer than `PATIENCE_S`; the same call goes on from here.
    """

    def patiently(act: Callable[[], T]) -> T:
        until = now() + PATIENCE_S
        while True:
            try:
                return act()
            except TransientError:
                if now() >= until:
                    raise
            pause(_SOON_S)

    while rollout.verdict is None:
        sight = patiently(partial(tracks.keep, _weight(rollout, plan)))
        rollout, waits = _decide(rollout, sight, plan, now())
        patiently(partial(tracks.save, rollout))
        if waits:
            pause(plan.every_s if sight.ready else min(plan.every_s, _SOON_S))
    if rollout.verdict == "promote":
        patiently(tracks.promote)
        return rollout
    patiently(tracks.abort)
    stable = rollout.stable.rpartition("@")[2]
    raise AbortedError(f"deploy {rollout.candidate}: aborted: {rollout.why}; {stable} stays live", rollout.stable)


def _weight(rollout: Rollout, plan: Canary) -> int:
    return plan.steps[rollout.step].weight if rollout.step >= 0 else 0


def _decide(rollout: Rollout, sight: Sight, plan: Canary, now: float) -> tuple[Rollout, bool]:
    """Decide after a look: return the rollout, and whether there is nothing to do but wait."""
    seen = Seen(sight.ready, _analyse(rollout, sight, plan), sight.trouble, sight.missing)
    action = next_rollout_action(rollout, seen, plan, now)
    return after(rollout, action, seen, now), action.kind == "wait"


def _analyse(rollout: Rollout, sight: Sight, plan: Canary) -> Analysis:
    return analyse(
        sight.canary,
        sight.baseline,
        plan.metrics,
        min_requests=plan.min_requests,
        false_alarm=plan.false_alarm,
        look=rollout.looks + 1,
    )
