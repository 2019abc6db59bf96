"""Artifacts that a run looks up and makes; what it has looked up is not removed from under it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property

from pipeline.home import store_address
from pipeline.runs.job import Job
from pipeline.storage.artifacts import Artifact, Store, open_store
from pipeline.storage.artifacts.claims import RunClaims


class RunArtifacts:
    """The artifact store as one run sees it.

    Parameters
    ----------
    job : Job
        What the run is about.
    holds : bool
        Whether what is looked up is needed by a run, and so must not be removed from the store.
    """

    def __init__(self, job: Job, *, holds: bool) -> None:
        self.job, self.holds = job, holds
        self._seen: dict[str, Artifact] = {}

    @cached_property
    def store(self) -> Store:
        """The store itself."""
        return open_store(store_address(self.job.state), self.job.state)

    @cached_property
    def _claims(self) -> RunClaims:
        tasks = self.job.spec.tasks
        return RunClaims(self.store, self.job.model, timedelta(seconds=tasks.timeout_s * (tasks.retries + 1)))

    def find(self, key: str) -> Artifact | None:
        """Look an artifact up: in the store, once, since an artifact never changes."""
        return self.find_all([key]).get(key)

    def find_all(self, keys: Iterable[str]) -> Mapping[str, Artifact]:
        """Look artifacts up by their keys; those that there are."""
        wanted = list(keys)
        if unseen := [key for key in wanted if key not in self._seen]:
            if self.holds:
                self._claims.claim(unseen, datetime.now(UTC))
            self._seen.update(self.store.find_all(unseen))
        return {key: self._seen[key] for key in wanted if key in self._seen}

    def forget(self, key: str) -> None:
        """Look an artifact up anew: it was damaged, and is set aside."""
        self._seen.pop(key, None)

    def keep(self, artifact: Artifact) -> None:
        """Remember an artifact that this process has just published."""
        self._seen[artifact.key] = artifact
