"""All artifacts of a store, and which was made of which: told by the digests in their recipes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.delivery.releases import Release
from pipeline.operations.provenance.partitions import digests_of
from pipeline.runs.plan.planning import content_of
from pipeline.storage.artifacts import Artifact, Store

Groups = Mapping[str, list[Artifact]]


@dataclass(frozen=True)
class Catalogue:
    """What a store holds.

    Attributes
    ----------
    artifacts : dict
        Key → artifact.
    """

    artifacts: Mapping[str, Artifact]

    def beginning(self, digits: str) -> list[Artifact]:
        """List the artifacts whose keys begin with these digits."""
        return [artifact for key, artifact in self.artifacts.items() if key.startswith(digits)]

    def features(self, release: Release) -> dict[str, Artifact | None]:
        """Find partition → the transform artifact behind a release; None for one that is gone."""
        found = digests_of(self.artifacts.get(release.evidence.artifacts.get("normalize", ""))) or {}
        return {name: _behind(release, self._transformed.get(digest, ()), name) for name, digest in found.items()}

    def rows(self, release: Release, transformed: Artifact | None, partition: str) -> Artifact | None:
        """Find the clean artifact that features were made of; None if it is gone."""
        content = transformed.manifest["recipe"]["inputs"]["rows"] if transformed else ""
        return _behind(release, self._cleaned.get(content, ()), partition)

    def matrices_with(self, artifact: Artifact) -> set[str]:
        """Find the keys of the normalize artifacts that were made from a clean or transform artifact."""
        step = artifact.manifest["step"]
        made = [artifact] if step == "transform" else self._made_of(content_of(step, artifact))
        digests = {(each.manifest["partition"], each.digest) for each in made}
        return {
            each.key
            for each in self._of("normalize")
            if any(pair in digests for pair in (digests_of(each) or {}).items())
        }

    def _made_of(self, rows: str) -> list[Artifact]:
        return [each for each in self._of("transform") if each.manifest["recipe"]["inputs"]["rows"] == rows]

    def _of(self, step: str) -> list[Artifact]:
        return [each for each in self.artifacts.values() if each.manifest.get("step") == step]

    @cached_property
    def _transformed(self) -> Groups:
        return _group((each.digest, each) for each in self._of("transform"))

    @cached_property
    def _cleaned(self) -> Groups:
        return _group((content_of("clean", each), each) for each in self._of("clean"))


def read_catalogue(store: Store) -> Catalogue:
    """Read the manifest of every artifact."""
    return Catalogue(store.find_all([each.key for each in store.entries() if each.manifest is not None]))


def _group(pairs: Iterable[tuple[str, Artifact]]) -> Groups:
    groups: dict[str, list[Artifact]] = {}
    for name, artifact in pairs:
        groups.setdefault(name, []).append(artifact)
    return groups


def _behind(release: Release, found: Iterable[Artifact], partition: str) -> Artifact | None:
    """Choose among artifacts with the same bytes: the last that was there when the release was made, else the first."""
    mine = sorted((each for each in found if each.manifest["partition"] == partition), key=_created)
    made = release.date.isoformat(timespec="seconds") if release.date else ""
    return next((each for each in reversed(mine) if _created(each) <= made), mine[0] if mine else None)


def _created(artifact: Artifact) -> str:
    return str(artifact.manifest["created"])
