"""What runs and releases claim in the store, so that nothing they need is removed.

A run writes down which artifacts it needs *before* it looks whether they are there. A removal writes down what it is
about to remove *before* it looks who needs it. So one of the two sees the other: what is needed is spared, or the run
waits until the removal has ended and finds the artifact missing. Either is right, and neither holds a lock.

=========================================  ==============================================================
``notes/uses/2026-11-23/MODEL-HASH.json``  keys that a run of that day needs
``notes/uses/releases/MODEL-HASH.json``    keys that a release needs, also of a clone that shares the store
``notes/removing/ID.json``                 keys that are being removed, a few at a time
=========================================  ==============================================================

Keys are shortened: of two that begin alike, both are kept.
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

CLAIM_LASTS = timedelta(days=1)
"""How long a run's claim counts at least: so much time may pass between two steps of a run."""
LEASE_S = 30.0
"""A removal counts as killed after this time; it removes nothing itself after half of it."""
_RELEASES = "releases"
_POLL_S = 0.05


def cut(key: str) -> str:
    """Shorten a key as the notes do."""
    return key[:16]


@dataclass(frozen=True)
class Claim:
    """Artifacts that a run or a release claims.

    Attributes
    ----------
    note : str
        Name of the claim's note in the store.
    keys : frozenset of str
        Shortened, as `cut` does.
    day : date or None
        The day on which a run claimed them; None for a release, whose claim has no end.
    until : date or None
        Last day on which the run may still work; None for a release.
    """

    note: str
    model: str
    keys: frozenset[str]
    day: date | None
    until: date | None


class RunClaims:
    """What one process of a run claims.

    Parameters
    ----------
    longest : timedelta
        Longest time that a step of the run may take.
    """

    def __init__(self, store: Store, model: str, longest: timedelta = CLAIM_LASTS) -> None:
        self._store, self._model, self._longest = store, model, max(CLAIM_LASTS, longest)
        self._day: date | None = None
        self._held: set[str] = set()

    def claim(self, keys: Iterable[str], now: datetime) -> None:
        """Claim artifacts for the run, whether or not they exist; return once none of them is being removed.

        The run renews its claim once a day, so that garbage collection keeps what it claimed before.
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


def claim_for_release(store: Store, model: str, keys: Iterable[str]) -> None:
    """Claim artifacts for a release; such a claim has no end."""
    _write(store, f"uses/{_RELEASES}", {"model": model, "keys": sorted({cut(key) for key in keys})})


def read_claims(store: Store, days: Iterable[date] | None = None) -> list[Claim]:
    """List the claims of releases, and those of runs: of every day, or of some.

    Raises
    ------
    StoreError
        If a note cannot be read: nobody knows then what it claims.
    """
    folders = ["uses"] if days is None else [f"uses/{each}" for each in (_RELEASES, *(d.isoformat() for d in days))]
    notes = {name: content for folder in folders for name, content in store.notes(folder).items()}
    return [_read(name, content) for name, content in notes.items()]


def forget(store: Store, claims: Iterable[Claim]) -> None:
    """Remove the notes of past days, to which no run writes any more."""
    for claim in claims:
        store.remove_note(claim.note)


@contextmanager
def removing(store: Store, keys: Iterable[str]) -> Iterator[float]:
    """Announce that these artifacts are being removed; yield the moment (monotonic) by which that must be done.

    Read the claims inside, so that none is overlooked.
    """
    name = f"removing/{uuid.uuid4().hex}.json"
    facts = {"keys": sorted({cut(key) for key in keys}), "machine": socket.gethostname(), "pid": os.getpid()}
    store.write_note(name, json.dumps(facts).encode())
    try:
        yield time.monotonic() + LEASE_S / 2
    finally:
        store.remove_note(name)


def _wait_for_removals(store: Store, keys: Set[str]) -> None:
    """Wait while any of the keys is being removed; remove what killed removals have left."""
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
    """Write a note whose name is a hash of its keys: runs that claim the same on one day share one note."""
    name = hashlib.sha256("".join(facts["keys"]).encode()).hexdigest()[:16]
    store.write_note(f"{folder}/{facts['model']}-{name}.json", json.dumps(facts).encode())


def _read(name: str, content: bytes) -> Claim:
    facts = _parse(content)
    try:
        place = name.split("/")[1]
        day = None if place == _RELEASES else date.fromisoformat(place)
        until = date.fromisoformat(facts["until"]) if day else None
        return Claim(name, str(facts["model"]), frozenset(facts["keys"]), day, until)
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
    """List the days on which a run may be writing: yesterday, today and tomorrow, since clocks differ."""
    return [(now.astimezone(UTC) + timedelta(days=each)).date() for each in (-1, 0, 1)]
