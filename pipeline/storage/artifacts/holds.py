"""What runs use of the store, so that nothing is removed from under them.

A run writes down which artifacts it needs *before* it looks whether they are there. A removal writes down what it is
about to remove *before* it looks who needs it. So one of the two sees the other: what is needed is spared, or the run
waits until the removal has ended and finds the artifact missing. Either is right, and neither holds a lock.

=========================================  ==============================================================
``notes/uses/2026-11-23/MODEL-HASH.json``  keys that a run of that day needs
``notes/uses/releases/MODEL-HASH.json``    keys that a release needs, also of a clone that shares the store
``notes/removing/ID.json``                 keys that are being removed, a few at a time
=========================================  ==============================================================

Keys are cut off: two that begin alike are both kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from pipeline.errors import StoreError
from pipeline.storage.artifacts import Store
from pipeline.storage.artifacts.folders import process_lives

HOLD = timedelta(days=1)
"""For so long a run's need is sure to count: a run may go on for as long between two of its steps."""
LEASE_S = 30.0
"""A removal that has not ended after this time was killed; it removes nothing after half of it."""
_RELEASES = "releases"
_POLL_S = 0.05


def cut(key: str) -> str:
    """Shorten a key as the notes do."""
    return key[:16]


@dataclass(frozen=True)
class Use:
    """Artifacts that a run or a release needs.

    Attributes
    ----------
    note : str
        Name of the note that says so.
    keys : frozenset of str
        Cut off.
    day : date or None
        When a run needed them; None for a release, which needs them for ever.
    until : date or None
        Last day on which the run may still go on.
    """

    note: str
    model: str
    keys: frozenset[str]
    day: date | None
    until: date | None


class Holding:
    """What one process of a run needs.

    Parameters
    ----------
    longest : timedelta
        Longest time that a step of the run may take.
    """

    def __init__(self, store: Store, model: str, longest: timedelta = HOLD) -> None:
        self._store, self._model, self._longest = store, model, max(HOLD, longest)
        self._day: date | None = None
        self._held: set[str] = set()

    def hold(self, keys: Iterable[str], now: datetime) -> None:
        """Say that the run needs these artifacts, there or not; returns when none of them is being removed.

        What it needed before it still needs, and says so again on another day.
        """
        wanted, day = {cut(key) for key in keys}, now.astimezone(UTC).date()
        if day != self._day:
            wanted, self._day, self._held = wanted | self._held, day, set()
        if needed := wanted - self._held:
            until = (now.astimezone(UTC) + self._longest).date()
            facts = {"model": self._model, "keys": sorted(needed), "until": until.isoformat()}
            _write(self._store, f"uses/{day.isoformat()}", facts)
            _wait_for_removals(self._store, needed)
            self._held |= needed


def hold_release(store: Store, model: str, keys: Iterable[str]) -> None:
    """Say that a release needs these artifacts."""
    _write(store, f"uses/{_RELEASES}", {"model": model, "keys": sorted({cut(key) for key in keys})})


def read_uses(store: Store, days: Iterable[date] | None = None) -> list[Use]:
    """List what releases need, and what runs needed: on any day, or on some.

    Raises
    ------
    StoreError
        If a note cannot be read: then nobody knows what it needs.
    """
    folders = ["uses"] if days is None else [f"uses/{each}" for each in (_RELEASES, *(d.isoformat() for d in days))]
    notes = {name: content for folder in folders for name, content in store.notes(folder).items()}
    return [_read(name, content) for name, content in notes.items()]


def forget(store: Store, uses: Iterable[Use]) -> None:
    """Remove notes of past days, to which no run writes any more."""
    for use in uses:
        store.remove_note(use.note)


@contextmanager
def removing(store: Store, keys: Iterable[str]) -> Iterator[float]:
    """Say that these artifacts are being removed; gives the moment (monotonic) until which that may be done.

    Who needs them must be read inside.
    """
    name = f"removing/{uuid.uuid4().hex}.json"
    facts = {"keys": sorted({cut(key) for key in keys}), "machine": socket.gethostname(), "pid": os.getpid()}
    store.write_note(name, json.dumps(facts).encode())
    try:
        yield time.monotonic() + LEASE_S / 2
    finally:
        store.remove_note(name)


def _wait_for_removals(store: Store, keys: Set[str]) -> None:
    """Wait while any of the keys is being removed; what a killed removal has left is removed here."""
    first_seen: dict[str, float] = {}
    while True:
        now = time.monotonic()
        going = False
        for name, content in store.notes("removing").items():
            removal = _parse(content)
            if keys.isdisjoint(removal.get("keys", ())):
                continue
            if _is_dead(removal) or now - first_seen.setdefault(name, now) > LEASE_S:
                store.remove_note(name)
            else:
                going = True
        if not going:
            return
        time.sleep(_POLL_S)


def _is_dead(removal: Mapping[str, Any]) -> bool:
    return removal.get("machine") == socket.gethostname() and not process_lives(str(removal.get("pid")))


def _write(store: Store, folder: str, facts: Mapping[str, Any]) -> None:
    """Write a note named by what it needs: on one day, runs that need the same need one note."""
    name = hashlib.sha256("".join(facts["keys"]).encode()).hexdigest()[:16]
    store.write_note(f"{folder}/{facts['model']}-{name}.json", json.dumps(facts).encode())


def _read(name: str, content: bytes) -> Use:
    facts = _parse(content)
    try:
        place = name.split("/")[1]
        day = None if place == _RELEASES else date.fromisoformat(place)
        until = date.fromisoformat(facts["until"]) if day else None
        return Use(name, str(facts["model"]), frozenset(facts["keys"]), day, until)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"store: notes/{name}: found {error!r}; expected what a run needs: remove that note"
        ) from error


def _parse(content: bytes) -> Mapping[str, Any]:
    try:
        facts = json.loads(content)
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def days_around(now: datetime) -> list[date]:
    """Return the days on which a run may be writing: today, and the days beside it, since clocks differ."""
    return [(now.astimezone(UTC) + timedelta(days=each)).date() for each in (-1, 0, 1)]
