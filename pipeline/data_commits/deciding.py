"""Which runs new data commits start: pure, from what happened and what a model reads.

A commit starts at most one run of a model, whose identifier is made of the commit, so that Airflow itself refuses a
second one. A commit that changes no partition of a model starts none. After a force-push, a commit whose partitions
are what an undone commit had left is that commit under another id, and is not run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from pipeline.data_commits.history import DataCommit, Stretch
from pipeline.job import last_day
from pipeline.spec.schema_schedule import OnDataCommit

KeyOf = Callable[[str], str | None]
RUN_PREFIX = "data__"


def run_id(commit: str) -> str:
    """Give the identifier of the run that a commit starts; Airflow has each only once in a DAG."""
    return f"{RUN_PREFIX}{commit}"


@dataclass(frozen=True)
class Arrival:
    """A commit that changes what a model reads.

    Attributes
    ----------
    changed : tuple of str
        Keys of the partitions added, changed or removed.
    old : tuple of str
        Those of them that an earlier scheduled run may have seen.
    """

    commit: str
    subject: str
    changed: tuple[str, ...]
    old: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """What new commits mean for one model.

    Attributes
    ----------
    start : tuple of Arrival
        Run these, in this order.
    superseded : tuple of Arrival
        A newer one takes their place (``on_data_commit: latest``).
    repeated : tuple of Arrival
        A force-push gave them another id; their partitions have been run.
    untouched : int
        Commits that change nothing that the model reads.
    keys : frozenset of str
        The partitions at the newest commit.
    """

    start: tuple[Arrival, ...] = ()
    superseded: tuple[Arrival, ...] = ()
    repeated: tuple[Arrival, ...] = ()
    untouched: int = 0
    keys: frozenset[str] = field(default_factory=frozenset)

    @property
    def old(self) -> frozenset[str]:
        """Old partitions that any of the commits changed, the superseded ones included."""
        return frozenset(key for each in (*self.superseded, *self.start) for key in each.old)


class Contents:
    """Partitions and a hash of them all that follows each change, whatever the number of partitions.

    The hash is the sum of the hashes of the single ones: it does not depend on the order in which they came.
    """

    def __init__(self, partitions: Mapping[str, str]) -> None:
        self.partitions: dict[str, str] = {}
        self._sum = 0
        self._newest: date | None = None
        for key, content in partitions.items():
            self.put(key, content)

    def put(self, key: str, content: str | None) -> None:
        """Give a partition another content, or remove it."""
        if (before := self.partitions.pop(key, None)) is not None:
            self._sum -= _hash(key, before)
        if content is not None:
            self.partitions[key] = content
            self._sum += _hash(key, content)
            self._newest = max(filter(None, (self._newest, last_day(key))), default=None)

    def is_past(self, key: str) -> bool:
        """Tell whether a partition's period ended before that of the newest one that there ever was."""
        day = last_day(key)
        return day is not None and self._newest is not None and day < self._newest

    @property
    def digest(self) -> str:
        """The hash of all partitions."""
        return f"{self._sum % 2**256:064x}"


def _hash(key: str, content: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}\0{content}".encode("utf-8", "surrogateescape")).digest())


def decide(
    policy: OnDataCommit, key_of: KeyOf, base: Mapping[str, str], stretch: Stretch, known: str | None = None
) -> Decision:
    """Decide which commits start a run of a model.

    Parameters
    ----------
    policy : str
        ``every``, ``latest`` or ``off``.
    key_of : callable
        Path → key of the partition, None for what the model does not read.
    base : mapping
        Key → content id of the partitions at ``stretch.base``.
    known : str or None
        Digest of the partitions that were run last, where the commit itself is gone.
    """
    seen = _digests_of(stretch, key_of, base) | ({known} if known else set())
    contents = Contents(base)
    touching, repeated = list[Arrival](), list[Arrival]()
    for commit in stretch.commits:
        arrival = _apply(commit, key_of, contents)
        if arrival is not None:
            (repeated if contents.digest in seen else touching).append(arrival)
    chosen = {"every": len(touching), "latest": min(1, len(touching)), "off": 0}[policy]
    split = len(touching) - chosen
    untouched = len(stretch.commits) - len(touching) - len(repeated)
    return Decision(
        tuple(touching[split:]), tuple(touching[:split]), tuple(repeated), untouched, frozenset(contents.partitions)
    )


def _digests_of(stretch: Stretch, key_of: KeyOf, base: Mapping[str, str]) -> set[str]:
    """Give the digests that the undone commits had left; an unforced stretch has none."""
    contents, found = Contents(base), set()
    for commit in stretch.undone:
        if _apply(commit, key_of, contents) is not None:
            found.add(contents.digest)
    return found


def _apply(commit: DataCommit, key_of: KeyOf, contents: Contents) -> Arrival | None:
    """Follow a commit; give what it means, None if it changes no partition."""
    changes = {key: each for each in commit.changes if (key := key_of(each.path)) and each.before != each.after}
    old = tuple(key for key, each in changes.items() if each.before is not None or contents.is_past(key))
    for key, each in changes.items():
        contents.put(key, each.after)
    return Arrival(commit.id, commit.subject, tuple(changes), old) if changes else None
