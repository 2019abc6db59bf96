"""What a run works with in one process: put together here, so that each part is handed on by itself."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import cached_property

from pipeline.errors import DamagedError
from pipeline.runs.artifacts import RunArtifacts
from pipeline.runs.assignments import Assignments
from pipeline.runs.inputs import Inputs
from pipeline.runs.job import Job
from pipeline.runs.plan.last_runs import History, read_history
from pipeline.runs.plan.planning import Chain, Last, PlannedStep, plan
from pipeline.runs.plan.recipes import STEPS
from pipeline.runs.tracking import Recorder


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
