"""Which artifacts stay, and why. Nothing here reads or removes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pipeline.storage.artifacts import Entry
from pipeline.storage.artifacts.claims import Claim, cut

Why = Literal["release", "plan", "run", "new", "blind"]
WORDS: Mapping[Why, str] = {
    "release": "a release needs it",
    "plan": "today's specs would reuse it",
    "run": "a run needed it within the time",
    "new": "it was made within the time",
    "blind": "what its spec would reuse is not known",
}
"""Why an artifact stays; the first that holds is told."""


@dataclass(frozen=True)
class Needs:
    """Shortened keys that something needs.

    Attributes
    ----------
    blind : frozenset of str
        Models whose plan cannot be known.
    """

    release: frozenset[str] = frozenset()
    plan: frozenset[str] = frozenset()
    run: frozenset[str] = frozenset()
    blind: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fate:
    """One artifact, and why it stays.

    Attributes
    ----------
    why : str or None
        A key of `WORDS`; None for one that nothing needs.
    """

    key: str
    model: str
    step: str
    bytes: int
    made: datetime | None
    why: Why | None


def decide(entries: Iterable[Entry], needs: Needs, limit: datetime) -> list[Fate]:
    """Say of each artifact whether something needs it.

    Parameters
    ----------
    limit : datetime
        What was made later stays in any case.
    """
    return [
        Fate(each.key, model_of(each), _text(each, "step"), each.bytes, made_at(each), _why(each, needs, limit))
        for each in entries
    ]


def needed_by_runs(claims: Iterable[Claim], limit: datetime, now: datetime) -> frozenset[str]:
    """Collect the keys that runs have claimed since a limit, or may still need."""
    return frozenset(key for claim in claims if claim.day and not is_over(claim, limit, now) for key in claim.keys)


def is_over(claim: Claim, limit: datetime, now: datetime) -> bool:
    """Tell whether a run's claim has ended; a release's claim never does."""
    return bool(claim.day and claim.until and claim.day < limit.date() and claim.until < now.date())


def model_of(entry: Entry) -> str:
    """Read the model that an artifact was made for; empty if there is none."""
    return _text(entry, "model")


def made_at(entry: Entry) -> datetime | None:
    """Read when an artifact was made; None if that is not recorded."""
    try:
        return datetime.fromisoformat(_text(entry, "created")).astimezone(UTC)
    except ValueError:
        return entry.modified


def _why(entry: Entry, needs: Needs, limit: datetime) -> Why | None:
    key, made = cut(entry.key), made_at(entry)
    holds: Sequence[tuple[Why, bool]] = (
        ("release", key in needs.release),
        ("plan", key in needs.plan),
        ("run", key in needs.run),
        ("new", made is None or made >= limit),
        ("blind", model_of(entry) in needs.blind),
    )
    return next((why for why, true in holds if true), None)


def _text(entry: Entry, name: str) -> str:
    return str((entry.manifest or {}).get(name) or "")
