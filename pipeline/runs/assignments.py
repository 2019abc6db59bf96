"""A model's releases, and which of them its environment should have: read from Git once; releases are written there."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.delivery.releases import Evidence, Release, record, releases_of
from pipeline.delivery.stages import Stage, Standing, stages_of, standing_of
from pipeline.runs.job import Job
from pipeline.runs.plan.planning import champion_of
from pipeline.storage.git.tags import fetch_tags, fingerprint, list_tags, settle


class Assignments:
    """The releases of a job's model, and the stages of its environment."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._patterns = (f"{job.model}@v*", f"{job.model}#{job.environment}#*")
        self._push = job.spec.deploy.push_tags
        self._recorded: tuple[list[Release], list[Stage]] | None = None
        self._known = ""

    def releases(self) -> list[Release]:
        """List the model's releases, oldest first."""
        return self._tags()[0]

    def standing(self) -> Standing:
        """Say what should be live in the job's environment, and what was withdrawn from it."""
        return standing_of(self._tags()[1])

    def champion(self, model_digest: str) -> Release | None:
        """Find the release that a model is judged against."""
        return champion_of(self.releases(), self.standing(), model_digest)

    def refresh(self) -> bool:
        """Learn what others have released and assigned, and say whether there is anything new.

        Where tags are shared, a push that was cut off is finished.
        """
        if self._push:
            settle(self.job.repository)
            fetch_tags(self.job.repository, *self._patterns)
        before, self._known = self._known, fingerprint(self.job.repository, *self._patterns)
        if changed := self._known != before:
            self._recorded = None
        return changed

    def record(self, evidence: Evidence, make_image: Callable[[Release], str | None]) -> Release:
        """Record a release with its image; if this very model was released before, that release stands."""
        release, _ = record(self.job.repository, self.job.model, evidence, push=self._push, make_image=make_image)
        self._recorded = None
        return release

    def last_stage(self) -> int:
        """Return the number of the newest stage of the job's environment, as it is known here; 0 for none."""
        seen = self._tags()[1]
        return seen[-1].number if seen else 0

    def _tags(self) -> tuple[list[Release], list[Stage]]:
        """Read the tags once, since git is asked for them."""
        if self._recorded is None:
            tags = list_tags(self.job.repository, *self._patterns)
            self._recorded = (releases_of(tags), stages_of(tags))
        return self._recorded
