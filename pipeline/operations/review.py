"""What a run would do: what it would compute, compared with the live release, and change in the deployment.

Nothing is run or written. Pull requests are reviewed by this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.answers import asking_once
from pipeline.delivery.applied_settings import recall, sections_of
from pipeline.delivery.releases import Release, same_model
from pipeline.errors import ModelrailError
from pipeline.messages import count
from pipeline.operations.live_release import read_live_release
from pipeline.runs.at_commit import open_job_at
from pipeline.runs.committed_specs import explain_shallow, load_spec_at
from pipeline.runs.first_deployments import waiting_in
from pipeline.runs.job import Job, open_job
from pipeline.runs.memory import available_bytes
from pipeline.runs.plan.planning import Last, PlannedStep
from pipeline.runs.plan.recipes import method_digest
from pipeline.runs.request import RunRequest
from pipeline.runs.session import Session
from pipeline.spec.catalogue.trainers import held_bytes, trainer_name
from pipeline.spec.comparing import Change, compare
from pipeline.spec.placement import placement
from pipeline.spec.quantities import amount_of

Outcome = Literal["candidate", "replaces", "stays", "refused"]


@dataclass(frozen=True)
class Review:
    """A plan, and what it would change.

    Attributes
    ----------
    live : Release or None
        What should be live in the environment, by Git.
    outcome : str
        ``candidate``: something is computed, and may become a release; ``replaces``: a model that is computed already
        goes live; ``stays``: what is live stays; ``refused``: nothing goes live, though something else is live.
    say : str
        The same in words.
    changes : tuple of Change
        Settings of the deployment that differ from those it has.
    notes : tuple of str
        What could not be compared, and why.
    """

    job: Job
    steps: Sequence[PlannedStep]
    live: Release | None
    outcome: Outcome
    say: str
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    @property
    def todo(self) -> list[PlannedStep]:
        """The steps that are not reused."""
        return [each for each in self.steps if each.action != "reuse"]

    @property
    def changes_something(self) -> bool:
        """Whether a run would compute something, or change the deployment."""
        return bool(self.todo or self.changes or self.outcome in ("candidate", "replaces"))

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        deployment = {
            "environment": self.job.environment,
            "live": self.live.tag if self.live else None,
            "outcome": self.outcome,
            "say": self.say,
            "changes": [asdict(each) for each in self.changes],
        }
        return {
            "model": self.job.model,
            "spec_commit": self.job.spec_commit,
            "uncommitted": list(self.job.uncommitted),
            "data_commit": self.job.data_commit,
            "deployment": deployment,
            "notes": list(self.notes),
            "steps": [vars(each) for each in self.steps],
        }


def review(request: RunRequest, revision: str | None = None) -> Review:
    """Say what a run would compute, and what it would change in the deployment.

    Parameters
    ----------
    revision : str, optional
        A commit or branch whose spec and data are read; by default the work tree's.
    """
    session = Session(open_job_at(request, revision) if revision else open_job(request))
    notes: list[str] = []
    current = session.assignments.standing().current
    live = next((each for each in session.assignments.releases() if each.version == current), None)
    if live is None and (shallow := explain_shallow(session.job.repository)):
        notes.append(f"no live release is known here{shallow}")
    steps = session.plan(_known(session, live, notes))
    notes += _missing_memory(session, live, steps)
    outcome, say = _outcome(session, steps, live)
    if outcome != "refused" and (first := _first_in(session)):
        outcome, say = (
            "replaces" if outcome == "stays" else outcome,
            f"{say}; {' and '.join(first)} would get its first",
        )
    return Review(session.job, steps, live, outcome, say, tuple(_changes(session, live, notes)), tuple(notes))


def review_all(
    requests: Iterable[RunRequest], revision: str | None = None
) -> tuple[list[Review], list[tuple[Path, ModelrailError]]]:
    """Review several specs; one that is broken does not hide the plans of the others, and is given with its error."""
    found: list[Review] = []
    failed: list[tuple[Path, ModelrailError]] = []
    with asking_once():
        for each in requests:
            try:
                found.append(review(each, revision))
            except ModelrailError as error:
                failed.append((Path(each.spec), error))
    return found, failed


def _known(session: Session, live: Release | None, notes: list[str]) -> Last:
    """Compare with the live release, or where that is impossible, with the last run on this machine."""
    if live is None:
        return session.history
    try:
        return read_live_release(session.job, live, session.history, session.artifacts.find)
    except ModelrailError as error:
        notes.append(f"compared with the last time on this machine, not with {live.tag}: {error}")
        return session.history


def _missing_memory(session: Session, live: Release | None, steps: Sequence[PlannedStep]) -> Iterator[str]:
    """Say where the trainer would hold more memory than there is, if rows and features have been counted before.

    The counts are those of `normalize`, for these data or for the release that is live.
    """
    spec = session.job.spec
    trainer, place = trainer_name(spec.model), placement(spec.run, "train")
    (node,) = session.chain.nodes("normalize")
    earlier = live.evidence.artifacts.get("normalize") if live and not node.artifact else None
    counted = node.artifact or (session.artifacts.find(earlier) if earlier else None)
    free = available_bytes() if place.where != "pod" else amount_of(place.memory) if place.memory else None
    trains = any(each.step == "train" and each.action != "reuse" for each in steps)
    if counted is None or free is None or trainer is None or not trains:
        return
    rows, features = (counted.manifest["sides"][side] for side in ("train", "validate")), counted.manifest["features"]
    number = sum(rows)
    needed = number * features * held_bytes(trainer, spec.model.params)
    if needed > free:
        when = f" (as in {live.tag})" if live and earlier else ""
        room = "is what its pod has (run.train.memory)" if place.where == "pod" else "is free here"
        yield (
            f"train: {trainer} would hold {_size(needed)} of memory at least, for {count(number, 'row')} with "
            f"{count(features, 'feature')}{when}, and {_size(free)} {room}: it would end with an error"
        )


def _size(number: float) -> str:
    """Write a number of bytes in GB, or in MB where it is small."""
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.3g} MB"


def _outcome(session: Session, steps: Sequence[PlannedStep], live: Release | None) -> tuple[Outcome, str]:
    where = f"{live.tag} in {session.job.environment}" if live else ""
    if any(each.action != "reuse" for each in steps):
        kind = f"a new release ({_kind(session)})"
        told = f"{kind} would replace {where}" if live else f"{kind} would be live in {session.job.environment}"
        return "candidate", f"{told}, if it passes its gate{_uncommitted(session.job)}"
    from pipeline.runs.candidates import (  # what it needs is not needed while something is to be computed
        choose,
        is_pending,
    )

    if same_model(session.assignments.releases(), session.chain.artifact("train").digest) is None:
        if not is_pending(session):
            return "refused", f"no release: {_refusal(session)}"
        kind = f"a new release ({_kind(session)}) of what is computed already"
        return "replaces", f"{kind} would replace {where}" if live else f"{kind} would go live"
    chosen, why = choose(session)
    if chosen is None:
        return "refused", why
    if live and chosen.version == live.version:
        return "stays", f"{where} stays"
    return "replaces", f"{chosen.tag} would replace {where}" if live else f"{chosen.tag} would go live"


def _refusal(session: Session) -> str:
    from pipeline.runs.candidates import judge_again, refuse

    return refuse(session.job, judge_again(session)) or "it passes its gate"


def _kind(session: Session) -> str:
    history = session.assignments.releases()
    if not history:
        return "the first"
    if history[-1].evidence.recipe == method_digest(session.job.spec):
        return "patch: only the data changed"
    return "minor: the spec or the code changed; major if its inputs or outputs do"


def _first_in(session: Session) -> list[str]:
    """List the other environments that name the model and wait for its first release, as the work tree has them."""
    job = session.job
    found = waiting_in(job.repository, job.repository.root / job.spec_path, job.model)
    return [each for each in found if each != job.environment]


def _uncommitted(job: Job) -> str:
    return f", once {', '.join(job.uncommitted[:3])} {'is' if len(job.uncommitted) == 1 else 'are'} committed" * bool(
        job.uncommitted
    )


def _changes(session: Session, live: Release | None, notes: list[str]) -> Sequence[Change]:
    if live is None:
        return ()
    before = _applied(session, live, notes)
    return () if before is None else list(compare(before, sections_of(session.job.spec)))


def _applied(session: Session, live: Release, notes: list[str]) -> Mapping[str, Any] | None:
    """Read the settings that the deployment has: as recorded then, else as the release's commit has them."""
    job, evidence = session.job, live.evidence
    known = recall(session.artifacts.store, job.model, job.environment)
    if known and known["release"] == live.tag:
        found: Mapping[str, Any] = known["spec"]
        return found
    try:
        return sections_of(
            load_spec_at(job.repository, evidence.spec_commit, evidence.spec_path, job.request.environment)
        )
    except ModelrailError as error:
        notes.append(f"the settings of the deployment are not compared: {error}")
        return None


def specs_of(place: Path, revision: str | None) -> list[Path]:
    """List the specs of a folder, in the work tree or as a commit has them."""
    from pipeline.runs.at_commit import find_specs_at
    from pipeline.spec.files import find_specs

    return find_specs_at(place, revision) if revision else find_specs(place)
