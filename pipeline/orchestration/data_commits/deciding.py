"""Which runs new data commits start: pure, from what happened and what a model reads.

A commit starts at most one run of a model, whose identifier is made of the commit, so that Airflow itself refuses a
second one. A commit that changes no partition of a model starts none. After a force-push, a commit whose partitions
are what an undone commit had left is that commit under another id, and is not run again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from pipeline.orchestration.data_commits.history import DataCommit, FileChange, Stretch
from pipeline.spec.schema.run import OnDataCommit
from pipeline.storage.periods import last_day

KeyOf = Callable[[str], str | None]
RUN_PREFIX = "data__"


def run_id(commit: str) -> str:
    """Make the identifier of the run that a commit starts; Airflow has each only once in a DAG."""
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
    """What a model reads, with a hash of all files that is updated with each change instead of computed anew.

    The hash is the sum of the hashes of the single files: it does not depend on the order in which they came.
    """

    def __init__(self, key_of: KeyOf, files: Mapping[str, str]) -> None:
        self.key_of = key_of
        self._files: dict[str, str] = {}
        self._keys: Counter[str] = Counter()
        self._sum = 0
        self._newest: date | None = None
        for path, content in files.items():
            self.put(path, content)

    def put(self, path: str, content: str | None) -> None:
        """Write another content to a file, or remove it."""
        key = self.key_of(path) or ""
        if (before := self._files.pop(path, None)) is not None:
            self._sum -= _hash(path, before)
            self._keys[key] -= 1
        if content is not None:
            self._files[path] = content
            self._sum += _hash(path, content)
            self._keys[key] += 1
            self._newest = max(filter(None, (self._newest, last_day(key))), default=None)

    def __contains__(self, key: str) -> bool:
        return self._keys[key] > 0

    @property
    def keys(self) -> frozenset[str]:
        """The partitions that there are."""
        return frozenset(+self._keys)

    def is_past(self, key: str) -> bool:
        """Tell whether a partition's period ended before that of the newest one that there ever was."""
        day = last_day(key)
        return day is not None and self._newest is not None and day < self._newest

    @property
    def digest(self) -> str:
        """The hash of all files."""
        return f"{self._sum % 2**256:064x}"


def _hash(path: str, content: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{path}\0{content}".encode("utf-8", "surrogateescape")).digest())


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
        Path → content id of what the model reads at ``stretch.base``.
    known : str or None
        Digest of the partitions that were run last, where the commit itself is gone.
    """
    seen = _digests_of(stretch, key_of, base) | ({known} if known else set())
    contents = Contents(key_of, base)
    touching, repeated = list[Arrival](), list[Arrival]()
    for commit in stretch.commits:
        arrival = _apply(commit, contents)
        if arrival is not None:
            (repeated if contents.digest in seen else touching).append(arrival)
    chosen = {"every": len(touching), "latest": min(1, len(touching)), "off": 0}[policy]
    split = len(touching) - chosen
    untouched = len(stretch.commits) - len(touching) - len(repeated)
    return Decision(tuple(touching[split:]), tuple(touching[:split]), tuple(repeated), untouched, contents.keys)


def _digests_of(stretch: Stretch, key_of: KeyOf, base: Mapping[str, str]) -> set[str]:
    """Collect the digests that undone commits had left; there are none without a force-push."""
    contents, found = Contents(key_of, base), set()
    for commit in stretch.undone:
        if _apply(commit, contents) is not None:
            found.add(contents.digest)
    return found


def _apply(commit: DataCommit, contents: Contents) -> Arrival | None:
    """Follow a commit; give what it means, None if it changes no partition."""
    changes: dict[str, list[FileChange]] = {}
    for each in commit.changes:
        if (key := contents.key_of(each.path)) and each.before != each.after:
            changes.setdefault(key, []).append(each)
    old = tuple(key for key in changes if key in contents or contents.is_past(key))
    for each in (change for together in changes.values() for change in together):
        contents.put(each.path, each.after)
    return Arrival(commit.id, commit.subject, tuple(changes), old) if changes else None
