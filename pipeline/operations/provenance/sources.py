"""What a trace reads: the tags, the store and the state of one repository; each is read once, when it is needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pipeline.delivery.environments import Answering, EnvironmentStatus, judge_status, statuses_here
from pipeline.delivery.interventions import Intervention, interventions_of
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.promotion import find_slot
from pipeline.delivery.releases import Release, releases_of
from pipeline.delivery.stages import Stage, stages_of
from pipeline.errors import ModelrailError
from pipeline.home import home, store_address, tracking_address
from pipeline.operations.provenance.catalogue import Catalogue, read_catalogue
from pipeline.operations.provenance.code import code_checkout
from pipeline.operations.provenance.commits import DataCommit, lookup_for
from pipeline.runs.job import BUILT_IN
from pipeline.runs.tracking.reading import read_tags
from pipeline.storage.artifacts import Artifact, open_store
from pipeline.storage.git.mirrors import is_url, mirror_folder
from pipeline.storage.git.repository import Commit, Repository, open_repository
from pipeline.storage.git.tags import list_tags

OWN = "."


@dataclass(frozen=True)
class Sources:
    """What is known of the models of one repository."""

    repository: Repository
    state: Path

    @cached_property
    def releases(self) -> dict[str, list[Release]]:
        """Model → its releases, oldest first."""
        found: dict[str, list[Release]] = {}
        for release in releases_of(list_tags(self.repository, "*@v*")):
            found.setdefault(release.model, []).append(release)
        return found

    @cached_property
    def stages(self) -> list[Stage]:
        """All stages, by model and environment, in their order."""
        return stages_of(list_tags(self.repository, "*#*#*"))

    @cached_property
    def interventions(self) -> list[Intervention]:
        """All interventions, by model and environment, in their order."""
        return interventions_of(list_tags(self.repository, "*#*#watch#*"))

    @cached_property
    def catalogue(self) -> Catalogue:
        """All artifacts."""
        return read_catalogue(open_store(store_address(self.state), self.state))

    def all_releases(self) -> list[Release]:
        """List the releases of all models."""
        return [each for history in self.releases.values() for each in history]

    def artifact(self, key: str) -> Artifact | None:
        """Find an artifact; None if it is not there (any more)."""
        return self.catalogue.artifacts.get(key)

    def before(self, release: Release) -> Release | None:
        """Find the release before a release."""
        return next((each for each in reversed(self.releases[release.model]) if each.version < release.version), None)

    def stages_of(self, release: Release) -> list[tuple[Stage, Stage | None]]:
        """List the stages that assigned a release, each with its successor in the same environment."""
        mine = [each for each in self.stages if each.model == release.model]
        after = {(each.environment, each.number): each for each in mine}
        return [(each, after.get((each.environment, each.number + 1))) for each in mine if each.release == release.tag]

    def places(self, model: str) -> list[EnvironmentStatus]:
        """Say for each environment what should be live, and what answers: on this machine, or on its platform."""
        newest = {each.environment: each for each in self.stages if each.model == model}
        here = statuses_here(model, list(newest.values()), self.state)
        return [self._ask(model, each) if each.state == "unknown" else each for each in here]

    def _ask(self, model: str, place: EnvironmentStatus) -> EnvironmentStatus:
        try:
            target = find_slot(self.repository, model, place.environment).target
            if target.spec.environment.platform == "local":
                return place  # of another machine
            now: Answering | Literal["nothing"] = platform_of(target.spec).live(target) or "nothing"
        except (ModelrailError, OSError):  # its spec is gone, or the platform does not answer
            return place
        return judge_status(place.environment, place.stage.version if place.stage else None, now, place.stage)

    def data_commit(self, release: Release) -> DataCommit:
        """Look up the data commit of a release."""
        address = release.evidence.data_repository
        return lookup_for(None if address == OWN else address, self.repository, self.state)(
            release.evidence.data_commit
        )

    def spec_commit(self, commit: str) -> Commit | None:
        """Look up a commit of the specs' repository."""
        try:
            return self.repository.commit(commit)
        except ModelrailError:
            return None

    def find_run(self, run: str) -> dict[str, str] | None:
        """Ask MLflow for the tags of a run; None if it has no such run."""
        return read_tags(tracking_address(self.state), run)

    @cached_property
    def repositories(self) -> dict[str, Repository]:
        """Name → the repositories whose commits may be asked about: of specs, of data, of the code."""
        found = {"specs": self.repository}
        for address in dict.fromkeys(each.evidence.data_repository for each in self.all_releases()):
            if address not in (OWN, BUILT_IN) and (opened := self._open(address)):
                found[f"data {address}"] = opened
        if (code := code_checkout()) and code.root != self.repository.root:
            found["code"] = code
        return found

    def _open(self, address: str) -> Repository | None:
        folder = mirror_folder(address, self.state) if is_url(address) else self.repository.root / Path(address)
        try:
            return open_repository(folder)
        except ModelrailError:
            return None


def open_sources(folder: Path) -> Sources:
    """Open what is known of the repository that holds a folder."""
    repository = open_repository(folder)
    return Sources(repository, home(repository.root))
