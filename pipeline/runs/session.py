"""What a run works with in one process, and what a step gives back."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Any, TypeVar

from pipeline.delivery.releases import Evidence, Release, record, releases_of
from pipeline.delivery.stages import Stage, Standing, stages_of, standing_of
from pipeline.errors import InputError
from pipeline.home import store_address
from pipeline.model.columns import ColumnType
from pipeline.runs.job import Job
from pipeline.runs.plan.last_runs import History, read_history
from pipeline.runs.plan.planning import Last, Node, PlannedStep, champion_of, columns_of, plan, resolve
from pipeline.runs.tracking import Recorder
from pipeline.storage.artifacts import Artifact, Store, open_store
from pipeline.storage.artifacts.claims import RunClaims, claim_for_release
from pipeline.storage.git.tags import fetch_tags, fingerprint, list_tags, settle

T = TypeVar("T")


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
    _chain: dict[str, list[Node]] | None = field(default=None, init=False, repr=False)
    _recorded: tuple[list[Release], list[Stage]] | None = field(default=None, init=False, repr=False)
    _known: str = field(default="", init=False, repr=False)

    @cached_property
    def store(self) -> Store:
        """The artifact store."""
        return open_store(store_address(self.job.state), self.job.state)

    @cached_property
    def _lock(self) -> threading.RLock:
        return threading.RLock()

    @cached_property
    def _made(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _seen(self) -> dict[str, Artifact]:
        return {}

    @cached_property
    def _claims(self) -> RunClaims:
        tasks = self.job.spec.tasks
        return RunClaims(self.store, self.job.model, timedelta(seconds=tasks.timeout_s * (tasks.retries + 1)))

    @cached_property
    def history(self) -> History:
        """What this machine knows of earlier runs."""
        return read_history(self.job.state, self.job.model)

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

    def keep(self, artifact: Artifact) -> None:
        """Remember an artifact that this process has just published."""
        self._seen[artifact.key] = artifact

    def advance(self) -> None:
        """Let the chain be followed anew, since a step has ended; once a step, not once a partition."""
        self._chain = None

    def columns(self) -> dict[str, ColumnType]:
        """Return every column's type; all partitions are clean by now."""
        columns = columns_of(self.job.spec, self.nodes()["clean"])
        if columns is None:
            raise InputError("transform: found partitions that are not clean; expected the step 'clean' to have run")
        return columns

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Make a thing that several partitions need, once."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            made: T = self._made[name]
            return made

    def releases(self) -> list[Release]:
        """List the model's releases, oldest first."""
        return self._tags()[0]

    def refresh(self) -> None:
        """Learn what others have released and assigned; where tags are shared, finish a push that was cut off.

        Another release may be live now than before: then what the candidate is judged against is another one too.
        """
        if self._push:
            settle(self.job.repository)
            fetch_tags(self.job.repository, *self._patterns)
        if (found := fingerprint(self.job.repository, *self._patterns)) != self._known:
            self._known, self._recorded, self._chain = found, None, None

    def standing(self) -> Standing:
        """Say what should be live in the job's environment, and what was withdrawn from it."""
        return standing_of(self._tags()[1])

    def champion(self, model_digest: str) -> Release | None:
        """Return the release that a model is judged against."""
        return champion_of(self.releases(), self.standing(), model_digest)

    def record(self, evidence: Evidence, make_image: Callable[[Release], str | None]) -> Release:
        """Record a release with its image; if this very model was released before, that release stands."""
        claim_for_release(self.store, self.job.model, evidence.artifacts.values())
        release, _ = record(self.job.repository, self.job.model, evidence, push=self._push, make_image=make_image)
        self._recorded = None
        return release

    def last_stage(self) -> int:
        """Return the number of the newest stage of the job's environment, as this session knows it; 0 for none."""
        seen = self._tags()[1]
        return seen[-1].number if seen else 0

    @property
    def _patterns(self) -> tuple[str, str]:
        return f"{self.job.model}@v*", f"{self.job.model}#{self.job.environment}#*"

    @property
    def _push(self) -> bool:
        return self.job.spec.deploy.push_tags

    def _tags(self) -> tuple[list[Release], list[Stage]]:
        """Read the model's releases and the environment's stages; once, since git is asked for them."""
        if self._recorded is None:
            tags = list_tags(self.job.repository, *self._patterns)
            self._recorded = (releases_of(tags), stages_of(tags))
        return self._recorded

    def nodes(self) -> dict[str, list[Node]]:
        """Follow the chain of steps as far as it is known now."""
        chain = self._chain
        if chain is None:
            self._chain = chain = resolve(self.job, self.find_all, self.champion)
        return chain

    def artifact(self, step: str) -> Artifact:
        """Return the artifact of a step that has one for all partitions and has run."""
        (node,) = self.nodes()[step]
        if node.artifact is None:
            raise InputError(f"found nothing that '{step}' made; expected that step to have run: run them in order")
        return node.artifact

    def evaluation(self) -> Artifact:
        """Return what `evaluate` made of the model, also if it would be judged against a newer release by now."""
        others = (partial(_always, each) for each in (*reversed(self.releases()), None))
        for nodes in itertools.chain([self.nodes()], (resolve(self.job, self.find_all, each) for each in others)):
            if found := nodes["evaluate"][0].artifact:
                return found
        return self.artifact("evaluate")

    def plan(self, known: Last | None = None) -> list[PlannedStep]:
        """Say what would run now, and why: by default since the last time on this machine."""
        return plan(self.nodes(), known or self.history, force=self.job.request.force)


def _always(rival: Release | None, _: str) -> Release | None:
    return rival
