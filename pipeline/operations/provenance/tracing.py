"""What a name stands for (release, stage, commit, run, artifact, prediction), and the chains that it is part of.

Names that say what they are (tags, prediction ids, versions, models) are read first. Hexadecimal digits are looked up
among all that has such names: what the releases' evidence names, the store, Git, and at last MLflow, whose import takes
seconds. Digits that stand for several things are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.delivery.releases import Release, Version
from pipeline.errors import InputError, ModelrailError
from pipeline.messages import closest, count, examples, quote
from pipeline.operations.provenance.chains import ChainNode, artifact_node, chain_of, commit_facts, describe_commit
from pipeline.operations.provenance.code import commit_of
from pipeline.operations.provenance.predictions import find_prediction, release_of
from pipeline.operations.provenance.sources import OWN, Sources
from pipeline.storage.git.repository import Repository

MOST_CHAINS = 3
_DIGITS = re.compile(r"[0-9a-f]{4,64}")
_RUN = re.compile(r"[0-9a-f]{32}")
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Subject:
    """What a name stands for.

    Attributes
    ----------
    releases : tuple of Release
        Those whose chains it is part of, the one to show first at the front.
    node : ChainNode or None
        Itself, where no chain has a node of that name.
    """

    kind: str
    name: str
    said: str
    releases: tuple[Release, ...] = ()
    node: ChainNode | None = None


@dataclass(frozen=True)
class Trace:
    """A subject, and its chains.

    Attributes
    ----------
    chains : tuple of ChainNode
        Of at most three releases.
    others : tuple of str
        Tags of the other releases that it is part of.
    """

    asked: str
    subject: Subject
    chains: tuple[ChainNode, ...]
    others: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        subject = {name: getattr(self.subject, name) for name in ("kind", "name", "said")}
        node = asdict(self.subject.node) if self.subject.node else None
        chains = [asdict(each) for each in self.chains]
        return {"asked": self.asked, "found": subject | {"node": node}, "chains": chains, "others": list(self.others)}


def trace(asked: str, sources: Sources) -> Trace:
    """Find out what a name stands for, and build the chains that it is part of.

    Raises
    ------
    InputError
        If it stands for nothing that is known here, or for several things.
    """
    subject = find_subject(asked.strip(), sources)
    shown, others = subject.releases[:MOST_CHAINS], subject.releases[MOST_CHAINS:]
    asked_for = subject.node if subject.kind == "prediction" else None
    chains = tuple(chain_of(each, sources, asked_for).mark(subject.name) for each in shown)
    return Trace(asked, subject, chains, tuple(each.tag for each in others))


def find_subject(asked: str, sources: Sources) -> Subject:
    """Say what a name stands for."""
    for look in (_prediction, _stage, _release, _model):
        if found := look(asked, sources):
            return found
    if _DIGITS.fullmatch(asked):
        known = {each.name: each for look in (_known_commit, _run, _artifact) for each in look(asked, sources)}
        if len(known) > 1:
            listed = examples(f"{each.kind} {each.name[:16]}" for each in known.values())
            raise InputError(f"trace: found several things that begin with '{asked}': {listed}; expected more digits")
        if known:
            return next(iter(known.values()))
    found = _commit(asked, sources) or (_unreleased_run(asked, sources) if _RUN.fullmatch(asked) else None)
    if found is None:
        raise InputError(_explain(asked, sources))
    return found


def _prediction(asked: str, sources: Sources) -> Subject | None:
    tag = release_of(asked)
    if tag is None:
        return None
    found = find_prediction(sources.state, asked)
    facts = {"logged": found.logged or None, "captured": list(found.captured)}
    logged = found.logged
    when = f"answered {logged['@timestamp']}, status {logged['http.response.status_code']}" if logged else ""
    seen = when or ("captured" if found.captured else "no log or captured sample of this machine has it")
    return Subject(
        "prediction", asked, seen, (_tagged(tag, sources),), ChainNode("prediction", asked, seen, facts, here=True)
    )


def _stage(asked: str, sources: Sources) -> Subject | None:
    if "#" not in asked:
        return None
    if made := next((each for each in sources.interventions if each.tag == asked), None):
        said = f"{made.deed} because of {made.release} in {made.environment}"
        return Subject("intervention", made.tag, said, (_tagged(made.release, sources),))
    found = next((each for each in sources.stages if each.tag == asked), None)
    if found is None:
        return None
    return Subject("stage", found.tag, f"{found.release} in {found.environment}", (_tagged(found.release, sources),))


def _release(asked: str, sources: Sources) -> Subject | None:
    model, _, version = asked.rpartition("@")
    if not re.fullmatch(r"v?\d+\.\d+\.\d+", version):
        return None
    wanted = Version.parse(version)
    found = [each for each in sources.all_releases() if each.version == wanted and model in ("", each.model)]
    if len(found) > 1:
        raise InputError(f"trace: found v{wanted} of several models; expected one of {examples(e.tag for e in found)}")
    return Subject("release", found[0].tag, "a release", tuple(found)) if found else None


def _model(asked: str, sources: Sources) -> Subject | None:
    history = sources.releases.get(asked)
    if not history:
        return None
    return Subject("release", history[-1].tag, f"the newest of {count(len(history), 'release')}", (history[-1],))


def _tagged(tag: str, sources: Sources) -> Release:
    found = next((each for each in sources.releases.get(tag.partition("@")[0], ()) if each.tag == tag), None)
    if found is None:
        raise InputError(
            f"trace: found no release {tag} in {sources.repository.root}; expected its tag: it was deleted, or is not"
            " fetched yet ('git fetch --tags')"
        )
    return found


def _known_commit(asked: str, sources: Sources) -> Iterator[Subject]:
    """Find a commit that releases name, even if its repository is not on this machine."""
    names = {commit for each in sources.all_releases() for commit in _commits(each) if commit.startswith(asked)}
    for name in sorted(names):
        yield _subject_of(name, sources)


def _commits(release: Release) -> tuple[str, ...]:
    return release.evidence.data_commit, release.evidence.spec_commit, release.commit


def _subject_of(commit: str, sources: Sources) -> Subject:
    named = [each for each in sources.all_releases() if commit in _commits(each)]
    counts = {
        "data": sum(each.evidence.data_commit == commit for each in named),
        "spec": sum(each.evidence.spec_commit == commit for each in named),
    }
    said = [f"the {role} commit of {count(number, 'release')}" for role, number in counts.items() if number]
    return Subject("commit", commit, " and ".join(said) or "the commit that a release stands on", _newest(named))


def _run(asked: str, sources: Sources) -> Iterator[Subject]:
    for release in sources.all_releases():
        run = release.evidence.mlflow_run
        if run and run.startswith(asked):
            yield Subject("run", run, f"the MLflow run of {release.tag}", (release,))


def _artifact(asked: str, sources: Sources) -> Iterator[Subject]:
    named = {key for each in sources.all_releases() for key in each.evidence.artifacts.values()}
    there = {each.key for each in sources.catalogue.beginning(asked)}
    for key in sorted({key for key in named if key.startswith(asked)} | there):
        yield _subject_artifact(key, sources)


def _subject_artifact(key: str, sources: Sources) -> Subject:
    artifact = sources.artifact(key)
    keys = {key}
    if artifact is not None and artifact.manifest["step"] in ("clean", "transform"):
        keys |= sources.catalogue.matrices_with(artifact)
    found = _newest(each for each in sources.all_releases() if keys & {*each.evidence.artifacts.values()})
    step = artifact.manifest["step"] if artifact else _step_of(key, found)
    said = f"an artifact of the step {step}, in {count(len(found), 'release')}"
    return Subject("artifact", key, said, found, artifact_node(artifact) if artifact else None)


def _step_of(key: str, found: Sequence[Release]) -> str:
    return next(step for each in found for step, name in each.evidence.artifacts.items() if name == key)


def _commit(asked: str, sources: Sources) -> Subject | None:
    """Find a revision in Git that no release names: what followed it does."""
    anywhere = _DIGITS.fullmatch(asked) is not None  # a branch or HEAD is that of the specs
    for name, repository in sources.repositories.items() if anywhere else [("specs", sources.repository)]:
        try:
            commit = repository.commit(asked)
        except ModelrailError:
            continue
        if any(commit.id in _commits(each) for each in sources.all_releases()):
            return _subject_of(commit.id, sources)
        after = _taken_in(name, repository, commit.id, sources)
        node = ChainNode("commit", commit.id, f"{describe_commit(commit)} ({name})", commit_facts(commit), here=True)
        said = f"{len(after)} made from what followed it, first {after[0].tag}" if after else "in no release"
        return Subject("commit", commit.id, f"a commit of the {name}: {said}", after, node)
    return None


def _taken_in(name: str, repository: Repository, commit: str, sources: Sources) -> tuple[Release, ...]:
    """List the releases made from a commit or from what followed it, the oldest first."""
    listed = repository.attempt("rev-list", "--all", "--ancestry-path", f"^{commit}").output.split()
    known, shorter = {commit, *listed}, {each[:12] for each in (commit, *listed)}

    def knows(release: Release) -> bool:
        evidence = release.evidence
        if name == "code":
            return (commit_of(evidence.code) or "") in shorter
        own = name == "specs"
        data = evidence.data_commit in known and (evidence.data_repository == OWN) == own
        return data or (own and evidence.spec_commit in known)

    return tuple(reversed(_newest(each for each in sources.all_releases() if knows(each))))


def _unreleased_run(asked: str, sources: Sources) -> Subject | None:
    """Ask MLflow about a run that no release names: a step of a released run, or a run that was not released."""
    tags = sources.find_run(asked)
    if tags is None:
        return None
    parent = tags.get("mlflow.parentRunId", asked)
    facts = {name.removeprefix("modelrail."): value for name, value in tags.items() if name.startswith("modelrail.")}
    released = tuple(each for each in sources.all_releases() if each.evidence.mlflow_run == parent)
    what = f"the step {facts.get('step', '?')} of the run {parent}" if parent != asked else "an MLflow run"
    said = f"{what}, {facts.get('outcome', 'of which no release was made')}" if not released else what
    return Subject("run", asked, said, released, ChainNode("run", asked, said, facts, here=True))


def _newest(found: Iterable[Release]) -> tuple[Release, ...]:
    return tuple(sorted(found, key=lambda each: (each.date or _EPOCH, each.version), reverse=True))


def _explain(asked: str, sources: Sources) -> str:
    names = [*sources.releases, *(each.tag for each in sources.all_releases()), *(each.tag for each in sources.stages)]
    match = closest(asked, reversed(names))
    hint = f"; did you mean {quote(match)}?" if match else ""
    return (
        f"trace: found nothing that {quote(asked)} stands for in {sources.repository.root}; expected a release, a"
        f" stage, a commit, an MLflow run, an artifact's key or a prediction's id{hint}"
    )
