"""Removing what nothing needs, a few artifacts at a time; the claims are read once more before each few."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.operations.garbage.deciding import made_at
from pipeline.operations.garbage.merging import merge
from pipeline.operations.garbage.surveying import Survey
from pipeline.storage.artifacts import Entry, Store
from pipeline.storage.artifacts.claims import cut, days_around, forget, read_claims, removing

_AT_ONCE = 50
"""A run that needs one of them waits until they are all removed."""


@dataclass(frozen=True)
class Swept:
    """What was removed.

    Attributes
    ----------
    spared : int
        Artifacts that a run came to need, or that were made anew, since the survey.
    merged : int
        Notes of costs that others took the place of.
    """

    removed: int
    bytes: int
    spared: int
    merged: int


def sweep(found: Survey, now: datetime) -> Swept:
    """Remove what a survey found that nothing needs; what was needed meanwhile is spared.

    May be killed at any moment, and may run twice at once.
    """
    sizes = {each.key: each.bytes for each in found.goes} | {each.key: each.bytes for each in found.leftovers}
    removed: list[str] = []
    waiting = list(sizes)
    while waiting:
        seen, gone = _remove_some(found.store, waiting[:_AT_ONCE], found.limit, now)
        waiting, removed = waiting[seen:], [*removed, *gone]
    forget(found.store, found.over)
    merged = merge(found.store, found.merges)
    return Swept(len(removed), sum(sizes[key] for key in removed), len(sizes) - len(removed), merged)


def _remove_some(store: Store, keys: Sequence[str], limit: datetime, now: datetime) -> tuple[int, list[str]]:
    """Remove some, for as long as runs wait; return how many were looked at, and what was removed."""
    gone: list[str] = []
    with removing(store, keys) as deadline:
        needed = frozenset[str]().union(*(use.keys for use in read_claims(store, days_around(now))))
        there = store.find_all(keys)
        for seen, key in enumerate(keys):
            if seen and time.monotonic() > deadline:
                return seen, gone
            artifact = there.get(key)
            made = made_at(Entry(key, 0, artifact.manifest, None)) if artifact else None
            if cut(key) not in needed and (made is None or made < limit):
                store.remove(key)
                gone.append(key)
    return len(keys), gone
