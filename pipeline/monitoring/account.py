"""An account of what is wrong with what is live: what the last look has found, and what was done about it since."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.delivery.deploying import Slot
from pipeline.delivery.interventions import Intervention, interventions, refusal_of, standing_hold
from pipeline.errors import InputError
from pipeline.home import store_address
from pipeline.monitoring.history import KeptLook, read_looks
from pipeline.monitoring.onset import moment, row_of
from pipeline.storage.artifacts import Store, open_store

_FOLDER = "interventions"


@dataclass(frozen=True)
class Account:
    """What the last look has found, and what was done since it began.

    Attributes
    ----------
    at : str
        When it was looked at.
    done : tuple of str
        What was done, in words; first what is on hold.
    """

    model: str
    environment: str
    look: KeptLook
    at: str
    done: tuple[str, ...]


def account(slot: Slot) -> Account:
    """Tell of the last look that judged, without looking anew.

    Raises
    ------
    InputError
        If there was none.
    """
    store = open_store(store_address(slot.target.state), slot.target.state)
    looks = read_looks(store, slot.model, slot.environment)
    if not looks:
        raise InputError(
            f"{slot.model}: found no look at it in {slot.environment} that judged; expected one (modelrail watch "
            f"{slot.model})"
        )
    first = row_of(looks)[0]
    history = interventions(slot.repository, slot.model, slot.environment)
    known, standing = outcomes(store, slot.model, slot.environment), standing_hold(history)
    since = [each for each in history if each.date and each.date.timestamp() >= int(first.at - (first.seconds or 0.0))]
    done = [describe(each, known.get(str(each.number), "")) for each in since]
    held = [refusal_of(standing)] if standing else []
    return Account(slot.model, slot.environment, looks[-1], moment(looks[-1].at), (*held, *done))


def describe(made: Intervention, outcome: str = "") -> str:
    """Say what was done, by whom, why, and what came of it."""
    when = f"{made.date:%Y-%m-%d %H:%M} UTC, " if made.date else ""
    return f"{made.deed} ({when}{made.tag}) by {made.who}: {made.why}" + (f" → {outcome}" if outcome else "")


def outcomes(store: Store, model: str, environment: str) -> dict[str, str]:
    """Read what became of interventions: number → outcome."""
    notes = store.notes(f"{_FOLDER}/{model}/{environment}")
    return {name.rpartition("/")[2]: content.decode("utf-8", "replace") for name, content in notes.items()}


def name_outcome(made: Intervention) -> str:
    """Name the note that says what became of an intervention."""
    return f"{_FOLDER}/{made.model}/{made.environment}/{made.number}"
