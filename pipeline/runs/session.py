"""What a run works with in one process: artifacts, assignments and the chain of steps, each handed on by itself."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from pipeline.delivery.interventions import Intervention, interventions_of, standing_hold
from pipeline.delivery.releases import Evidence, Release, record, releases_of
from pipeline.delivery.stages import Stage, Standing, stages_of, standing_of
from pipeline.errors import DamagedError
from pipeline.home import store_address
from pipeline.runs.inputs import Inputs
from pipeline.runs.job import Job
from pipeline.runs.plan.last_runs import History, read_history
from pipeline.runs.plan.planning import Chain, Last, PlannedStep, champion_of, plan
from pipeline.runs.plan.recipes import STEPS
from pipeline.runs.tracking import Recorder
from pipeline.storage.artifacts import Artifact, Store, open_store
from pipeline.storage.artifacts.claims import RunClaims
from pipeline.storage.git.tags import fetch_tags, list_ids, list_tags, settle


class Assignments:
    """The releases of a job's model, and the stages of its environment."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._patterns = (f"{job.model}@v*", f"{job.model}#{job.environment}#*")
        self._push = job.spec.deploy.push_tags
        self._ids: set[str] | None = None

    def releases(self) -> list[Release]:
        """List the model's releases, oldest first."""
        return self._recorded[0]

    def standing(self) -> Standing:
        """Say what should be live in the job's environment, and what was withdrawn from it."""
        return self._recorded[2]

    def hold(self) -> Intervention | None:
        """Find the hold because of which nothing new may go live in the job's environment."""
        return self._recorded[3]

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
        if self._ids is not None and self._ids == list_ids(self.job.repository, *self._patterns):
            return False
        self._forget()
        return True

    def record(self, evidence: Evidence, make_image: Callable[[Release], str | None]) -> Release:
        """Record a release with its image; if this very model was released before, that release stands."""
        release, _ = record(self.job.repository, self.job.model, evidence, push=self._push, make_image=make_image)
        self._forget()
        return release

    def last_stage(self) -> int:
        """Return the number of the newest stage of the job's environment, as it is known here; 0 for none."""
        seen = self._recorded[1]
        return seen[-1].number if seen else 0

    @cached_property
    def _recorded(self) -> tuple[list[Release], list[Stage], Standing, Intervention | None]:
        """Releases and stages, and what follows; the tags are read once, since git is asked for them."""
        tags = list_tags(self.job.repository, *self._patterns)
        self._ids = {each.id for each in tags}
        stages = stages_of(tags)
        return releases_of(tags), stages, standing_of(stages), standing_hold(interventions_of(tags))

    def _forget(self) -> None:
        self._ids = None
        self.__dict__.pop("_recorded", None)


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


@dataclass
class Session:
    """A job, and what it works with in this process.

    Attributes
    ----------
    recorder : Recorder or None
        None where nothing is recorded, since nothing is computed.
    run : str
        Id of the run; the tasks of one run of Airflow share it.
    holds : bool
        Whether what is looked up is needed by a run, and so must not be removed from the store.
    """

    job: Job
    recorder: Recorder | None = None
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    holds: bool = False

    @cached_property
    def artifacts(self) -> RunArtifacts:
        """Artifacts that are looked up and made."""
        return RunArtifacts(self.job, holds=self.holds)

    @cached_property
    def assignments(self) -> Assignments:
        """The model's releases, and what its environment should have."""
        return Assignments(self.job)

    @cached_property
    def chain(self) -> Chain:
        """The steps, as far as the store knows them."""
        return Chain(self.job, self.artifacts.find_all, self.assignments.champion)

    @cached_property
    def inputs(self) -> Inputs:
        """What the work of the steps may read."""
        return Inputs(self.job, self.chain)

    @cached_property
    def history(self) -> History:
        """What this machine knows of earlier runs."""
        return read_history(self.job.state, self.job.model)

    def refresh(self) -> None:
        """Learn what others have released and assigned: the model may be judged against another release now."""
        if self.assignments.refresh():
            self.chain.forget("evaluate")

    def is_own(self, damaged: DamagedError) -> bool:
        """Look for an artifact that was set aside anew, and tell whether a step of this run makes it."""
        if damaged.step not in STEPS:
            return False
        self.artifacts.forget(damaged.key)
        self.chain.forget(damaged.step)
        return any(node.recipe and node.recipe.key == damaged.key for node in self.chain.nodes(damaged.step))

    def plan(self, known: Last | None = None) -> list[PlannedStep]:
        """Say what would run now, and why: by default since the last time on this machine."""
        return plan(self.chain, known or self.history, force=self.job.request.force)
