"""Notes of costs, one for each step that ran, merged into one for a month."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pipeline.runs.costs import MERGED, parts_of
from pipeline.storage.artifacts import Store

_SETTLED = timedelta(days=2)
"""A day's notes are merged when it is that long ago: a step that began then may still end."""


@dataclass(frozen=True)
class Merge:
    """Notes of one model and month that become one.

    Attributes
    ----------
    note : str
        The one; named by what it holds, so that two that merge the same write the same.
    parts : dict
        Name of a step's note → what it says.
    old : tuple of str
        Notes that it replaces.
    """

    note: str
    parts: Mapping[str, Mapping[str, Any]]
    old: tuple[str, ...]


def find_merges(store: Store, models: Iterable[str], today: date) -> Iterator[Merge]:
    """Find the notes that can be merged."""
    for model in sorted(models):
        months: dict[str, dict[str, bytes]] = {}
        for name, content in store.notes(f"costs/{model}").items():
            if (day := name.split("/")[2]) < (today - _SETTLED).isoformat():
                months.setdefault(day[:7], {})[name] = content
        for month, notes in months.items():
            parts = {part: each for name, content in notes.items() for part, each in parts_of(name, content).items()}
            listing = "".join(sorted(parts)).encode()
            target = f"costs/{model}/{month}-{MERGED}/{hashlib.sha256(listing).hexdigest()[:16]}.json"
            if old := tuple(name for name in notes if name != target):
                yield Merge(target, parts, old)


def merge(store: Store, merges: Iterable[Merge]) -> int:
    """Write each merged note, then remove the notes that it replaces; return how many were removed.

    A reader that finds a step in both counts it once, so nothing is lost or counted twice if this is killed halfway.
    """
    gone = 0
    for each in merges:
        store.write_note(each.note, json.dumps({MERGED: each.parts}).encode())
        for name in each.old:
            store.remove_note(name)
            gone += 1
    return gone
