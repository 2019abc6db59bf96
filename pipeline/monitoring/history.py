"""What looks have found, kept in the store: so that a window is known to be the third in a row, and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import msgspec

from pipeline.storage.artifacts import Store

MOST, KEPT_S = 500, 90 * 86_400.0
"""Looks that are kept of a model in an environment, and for how long."""
_FOLDER = "looks"


@dataclass(frozen=True)
class KeptLook:
    """One look that judged.

    Attributes
    ----------
    at : float
        When, in seconds since 1970.
    seconds : float or None
        How long its window was; None if it began with the servers.
    verdict, cause : str
        As of a judgement and its diagnosis.
    lines : tuple of str
        What was said.
    indexes : mapping
        Feature → its stability index beside the reference.
    quality : tuple of mapping
        Metrics with their intervals, as a look's document has them.
    failed : int
        Requests that were the service's fault.
    """

    at: float
    version: str
    verdict: str
    cause: str | None = None
    requests: int = 0
    rows: int = 0
    seconds: float | None = None
    lines: tuple[str, ...] = ()
    indexes: Mapping[str, float] = field(default_factory=dict)
    quality: tuple[Mapping[str, Any], ...] = ()
    failed: int = 0

    @property
    def signals(self) -> tuple[str, ...]:
        """What it is a sign of, the more exact word first: where the cause is, then the verdict; none if quiet."""
        return () if self.verdict == "quiet" else (*([self.cause] if self.cause else []), self.verdict)


def read_looks(store: Store, model: str, environment: str) -> tuple[KeptLook, ...]:
    """Read what looks have found, in the order in which they looked; none where the note is damaged."""
    name = _name(model, environment)
    try:
        return msgspec.json.decode(store.notes(f"{_FOLDER}/{model}").get(name, b""), type=tuple[KeptLook, ...])
    except msgspec.DecodeError:
        return ()


def keep_look(store: Store, model: str, environment: str, look: KeptLook) -> None:
    """Add a look, and forget those that are too old or too many."""
    earlier = [each for each in read_looks(store, model, environment) if each.at > look.at - KEPT_S]
    store.write_note(_name(model, environment), msgspec.json.encode([*earlier[1 - MOST :], look]))


def in_a_row(looks: Sequence[KeptLook], signal: str) -> tuple[KeptLook, ...]:
    """Return the looks up to the last one that all found a signal, of the release that was looked at last."""
    last = looks[-1].version if looks else ""
    found = takewhile(lambda each: each.version == last and signal in each.signals, reversed(looks))
    return tuple(found)[::-1]


def _name(model: str, environment: str) -> str:
    return f"{_FOLDER}/{model}/{environment}.json"
