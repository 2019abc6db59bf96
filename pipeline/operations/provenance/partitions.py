"""How the partitions of a release compare with those of the release before.

Partitions are compared by content. The recipe of the step normalize, kept in its artifact's manifest, names the
digest of each partition's features, and beside it stand those of the partitions of packs, so two releases are compared
without opening a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.runs.plan.planning import MEMBERS
from pipeline.storage.artifacts import Artifact

_PER_PARTITION = "transform/"


@dataclass(frozen=True)
class Partitions:
    """How the partitions of a release compare with those of the release before."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def new(self) -> tuple[str, ...]:
        """Those that had to be computed."""
        return (*self.added, *self.changed)


def compare_partitions(now: Mapping[str, str] | None, before: Mapping[str, str] | None) -> Partitions | None:
    """Tell which partitions came, changed, stayed and went; None where the artifact is gone.

    Parameters
    ----------
    now, before : mapping of str to str, or None
        Partition → digest of its features.
    """
    if now is None:
        return None
    known = before or {}
    return Partitions(
        added=tuple(key for key in now if key not in known),
        changed=tuple(key for key in now if key in known and known[key] != now[key]),
        same=tuple(key for key in now if known.get(key) == now[key]),
        removed=tuple(key for key in known if key not in now),
    )


def digests_of(normalized: Artifact | None) -> dict[str, str] | None:
    """Read partition → digest of its features from a normalize artifact; None where that is gone."""
    if normalized is None:
        return None
    inputs: Mapping[str, str] = normalized.manifest["recipe"]["inputs"]
    packs: Mapping[str, Mapping[str, str]] = normalized.manifest.get(MEMBERS, {})
    found: dict[str, str] = {}
    for name in sorted(name for name in inputs if name.startswith(_PER_PARTITION)):  # not the types of the columns
        partition = name.removeprefix(_PER_PARTITION)
        found |= packs.get(partition) or {partition: inputs[name]}
    return found
