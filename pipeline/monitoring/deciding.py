"""What is to be done about what looks have found, and why nothing is: pure, from looks, interventions and the spec.

Nothing goes in a circle. What is live since a rollback is not rolled back again: it is not the cause. A model is not
trained anew on data that it, or an earlier try, was trained on: its gate has said what it thinks of these. A hold is
made once, and nothing is done twice about one look. A clock that goes back only makes one wait longer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.delivery.interventions import Intervention, standing_hold
from pipeline.messages import count
from pipeline.monitoring.history import KeptLook, in_a_row
from pipeline.spec.schema.mending import Action, Deed, Signal

DAY_S = 86_400.0


@dataclass(frozen=True)
class Standpoint:
    """What is so where something is wrong.

    Attributes
    ----------
    done : sequence of Intervention
        What was done there, in order.
    live : str or None
        Version that should be live.
    stage : int
        Number of the stage that says what should be live; 0 for none.
    before : str or None
        Tag of the release that a rollback goes back to; None if there is none.
    rolled_back : bool
        Whether what is live came by a rollback, or stayed after an abort.
    newest_data, live_data : str or None
        The newest data commit, and that of the live release; None where they are not asked for.
    """

    done: Sequence[Intervention] = ()
    live: str | None = None
    stage: int = 0
    before: str | None = None
    rolled_back: bool = False
    newest_data: str | None = None
    live_data: str | None = None


@dataclass(frozen=True)
class Decision:
    """What is to be done.

    Attributes
    ----------
    signal : str
        What it is done for.
    row : tuple of KeptLook
        The looks in a row that found it.
    where : Standpoint
        What it was weighed by.
    refusal : str
        Why it is not done now; empty if it is.
    """

    signal: Signal
    rule: Action
    row: tuple[KeptLook, ...]
    where: Standpoint = Standpoint()
    refusal: str = ""

    @property
    def deed(self) -> Deed:
        """What is done."""
        return self.rule.do


def decide(looks: Sequence[KeptLook], rules: Mapping[Signal, Action]) -> Decision | None:
    """Decide what is to be done about what the last look has found, before anything is said against it.

    Parameters
    ----------
    looks : sequence of KeptLook
        In the order in which they looked.
    rules : mapping
        ``monitoring.actions``: signal → what is done.

    Returns
    -------
    Decision or None
        None if nothing is wrong, or nothing is to be done about it.
    """
    signals = looks[-1].signals if looks else ()
    signal = next((name for word in signals for name in rules if name == word), None)
    return Decision(signal, rules[signal], in_a_row(looks, signal)) if signal else None


def weigh(decision: Decision, where: Standpoint, now: float) -> Decision:
    """Say what speaks against it, if anything.

    Parameters
    ----------
    now : float
        Seconds since 1970.
    """
    refusal = next((said for ask in _OBJECTIONS if (said := ask(decision, where, now))), "")
    return replace(decision, where=where, refusal=refusal)


def _past(found: Decision, where: Standpoint, _now: float) -> str:
    seen = found.row[-1].version.removeprefix("v")
    return f"v{seen} was looked at, and v{where.live} should be live by now" if where.live not in (None, seen) else ""


def _too_early(found: Decision, _: Standpoint, _now: float) -> str:
    short = len(found.row) < found.rule.after
    return f"this is window {len(found.row)} of {found.rule.after} in a row" if short else ""


def _done_already(found: Decision, where: Standpoint, _now: float) -> str:
    same = [each for each in where.done if each.deed == found.deed and each.evidence.get("look") == found.row[-1].at]
    return f"{same[-1].tag} did so for this very look" if same else ""


def _too_soon(found: Decision, where: Standpoint, now: float) -> str:
    last = next((each for each in reversed(where.done) if each.deed == found.deed), None)
    if last is None or max(now - _at(last), 0) >= found.rule.cooldown_s:
        return ""
    return f"{last.tag} did so within the last {found.rule.cooldown_s:,} s (cooldown_s)"


def _too_often(found: Decision, where: Standpoint, now: float) -> str:
    times = sum(each.deed == found.deed and _at(each) > now - DAY_S for each in where.done)
    return f"it was done {count(times, 'time')} in 24 hours (at_most)" if times >= found.rule.at_most else ""


def _no_way_back(found: Decision, where: Standpoint, _now: float) -> str:
    if found.deed != "rollback":
        return ""
    if where.rolled_back:
        return "what is live came by a rollback itself, so it is not the cause"
    return "" if where.before else "nothing was live before"


def _no_newer_data(found: Decision, where: Standpoint, _now: float) -> str:
    if found.deed != "retrain":
        return ""
    if where.newest_data == where.live_data:
        return "there are no newer data than those that it was trained on"
    tried = [each for each in where.done if each.evidence.get("data_commit") == where.newest_data]
    return f"{tried[-1].tag} was for the same data: they must change first" if tried else ""


def _held_already(found: Decision, where: Standpoint, _now: float) -> str:
    hold = standing_hold(where.done)
    return f"it is on hold already ({hold.tag})" if found.deed == "hold" and hold else ""


_OBJECTIONS: Sequence[Callable[[Decision, Standpoint, float], str]] = (
    _past,
    _too_early,
    _done_already,
    _no_way_back,
    _no_newer_data,
    _held_already,
    _too_soon,
    _too_often,
)


def _at(done: Intervention) -> float:
    return done.date.timestamp() if done.date else 0.0
