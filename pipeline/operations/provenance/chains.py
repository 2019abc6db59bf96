"""The chain of a release as a tree: what it was made from, step by step, and where it was deployed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from pipeline.delivery.interventions import Intervention
from pipeline.delivery.releases import Release
from pipeline.delivery.stages import Stage
from pipeline.messages import count
from pipeline.operations.provenance.code import commit_of
from pipeline.operations.provenance.partitions import compare_partitions, digests_of
from pipeline.operations.provenance.predictions import count_predictions
from pipeline.operations.provenance.sources import OWN, Sources
from pipeline.storage.artifacts import Artifact
from pipeline.storage.git.repository import Commit

GONE = "not in this store"
_WHOLE = ("normalize", "train", "evaluate")
_DONE = {"deploy": "deployed", "promote": "promoted", "rollback": "rolled back to", "abort": "kept"}


@dataclass(frozen=True)
class ChainNode:
    """A link of a chain.

    Attributes
    ----------
    kind : str
        ``release``, ``data``, ``partitions``, ``spec``, ``code``, ``step``, ``artifact``, ``run``, ``stage``,
        ``intervention``, ``deployment``, ``predictions``, ``prediction``; a ``side`` holds others.
    name : str
        In full: a tag, a commit, a key.
    said : str
        What there is to say of it, for people.
    facts : dict
        The same and more, for programs.
    here : bool
        Whether it is what was asked about.
    """

    kind: str
    name: str
    said: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    nodes: tuple[ChainNode, ...] = ()
    here: bool = False

    def mark(self, name: str) -> ChainNode:
        """Mark the nodes of that name, or of the code at that commit, as what was asked about."""
        code = commit_of(self.name) if self.kind == "code" else None
        here = self.name == name or (code is not None and name.startswith(code))
        return replace(self, here=here, nodes=tuple(each.mark(name) for each in self.nodes))

    def find(self, kind: str) -> Iterator[ChainNode]:
        """Yield the nodes of a kind, at any depth."""
        if self.kind == kind:
            yield self
        for each in self.nodes:
            yield from each.find(kind)


def chain_of(release: Release, sources: Sources, prediction: ChainNode | None = None) -> ChainNode:
    """Return the whole chain of a release, both ways; one of its predictions is shown among them."""
    evidence = release.evidence
    facts = {"model": release.model, "version": str(release.version), "commit": release.commit, "date": release.date,
             "who": evidence.who, "why": evidence.why, "verdict": list(evidence.verdict),
             "metrics": dict(evidence.metrics), "image": evidence.image}  # fmt: skip
    said = f"released {_moment(release.date)} by {evidence.who}" + (f": {evidence.why}" if evidence.why else "")
    sides = (ChainNode("side", "made from", nodes=_origins(release, sources)),
             ChainNode("side", "led to", nodes=_outcomes(release, sources, prediction)))  # fmt: skip
    return ChainNode("release", release.tag, said, facts, sides)


def _origins(release: Release, sources: Sources) -> tuple[ChainNode, ...]:
    return (
        _data(release, sources),
        _spec(release, sources),
        ChainNode("code", release.evidence.code),
        *_steps(release, sources),
        *_run(release),
    )


def _data(release: Release, sources: Sources) -> ChainNode:
    evidence, found = release.evidence, sources.data_commit(release)
    place = "this repository" if evidence.data_repository == OWN else evidence.data_repository
    said = f"of {place}" + (f", {describe_commit(found.commit)}" if found.commit else "")
    facts = {"repository": evidence.data_repository, "as_of": evidence.as_of, **commit_facts(found.commit)}
    return ChainNode("data", evidence.data_commit, said, facts, _partitions(release, sources))


def _partitions(release: Release, sources: Sources) -> tuple[ChainNode, ...]:
    before = sources.before(release)
    then = digests_of(sources.artifact(before.evidence.artifacts.get("normalize", ""))) if before else {}
    now = digests_of(sources.artifact(release.evidence.artifacts.get("normalize", "")))
    found = compare_partitions(now, then)
    if found is None or then is None:
        return (ChainNode("partitions", count(release.evidence.partitions, "partition"), f"what changed is {GONE}"),)
    since = f" since {before.tag}" if before else ""
    kinds = ((f"new{since}", found.added), (f"changed{since}", found.changed), (f"removed{since}", found.removed),
             (f"as in {before.tag}" if before else "the same", found.same))  # fmt: skip
    return tuple(
        ChainNode("partitions", f"{len(keys):,} {word}", _span(keys), {"partitions": keys})
        for word, keys in kinds
        if keys
    )


def _spec(release: Release, sources: Sources) -> ChainNode:
    evidence = release.evidence
    commit = sources.spec_commit(evidence.spec_commit)
    overlay = f" with environments/{evidence.environment}.yaml" if evidence.environment else ""
    said = f"{evidence.spec_path}{overlay}" + (f", {describe_commit(commit)}" if commit else "")
    facts = {"path": evidence.spec_path, "environment": evidence.environment, **commit_facts(commit)}
    return ChainNode("spec", evidence.spec_commit, said, facts)


def _steps(release: Release, sources: Sources) -> Iterator[ChainNode]:
    features = sources.catalogue.features(release)
    rows = {name: sources.catalogue.rows(release, each, name) for name, each in features.items()}
    for step, made in (("clean", rows), ("transform", features)):
        nodes = tuple(artifact_node(each, release.evidence.data_commit) for each in made.values() if each)
        missing = len(made) - len(nodes)
        said = f"{count(len(nodes), 'artifact')}" + (f", {missing} {GONE}" if missing else "")
        yield ChainNode("step", step, said if made else GONE, {"missing": missing if made else None}, nodes)
    for step in _WHOLE:
        key = release.evidence.artifacts.get(step, "")
        artifact = sources.artifact(key)
        node = artifact_node(artifact, release.evidence.data_commit) if artifact else ChainNode("artifact", key, GONE)
        yield ChainNode("step", step, nodes=(node,))


def artifact_node(artifact: Artifact, data_commit: str = "") -> ChainNode:
    """Describe an artifact; one that was made for another data commit was reused."""
    manifest = artifact.manifest
    commits = manifest["commits"]
    parts = [
        manifest["partition"] or "",
        f"{manifest['rows']:,} rows" if manifest.get("rows") is not None else "",
        f"{manifest['seconds']:.1f} s",
        f"made {manifest['created'][:16].replace('T', ' ')}",
        f"for data {commits['data'][:10]}" if data_commit and commits["data"] != data_commit else "",
    ]
    facts = {"step": manifest["step"], "partition": manifest["partition"], "model": manifest["model"],
             "digest": artifact.digest, "rows": manifest.get("rows"), "seconds": manifest["seconds"],
             "created": manifest["created"], "commits": commits, "recipe": manifest["recipe"]}  # fmt: skip
    return ChainNode("artifact", artifact.key, ", ".join(filter(None, parts)), facts)


def _run(release: Release) -> Iterator[ChainNode]:
    if release.evidence.mlflow_run:
        yield ChainNode("run", release.evidence.mlflow_run, "in MLflow")


def _outcomes(release: Release, sources: Sources, prediction: ChainNode | None) -> tuple[ChainNode, ...]:
    stages = [_stage(stage, after) for stage, after in sources.stages_of(release)]
    live = [place for place in sources.places(release.model) if place.answers == f"v{release.version}"]
    deployed = [
        ChainNode("deployment", place.environment, f"answers at {place.address}", {"address": place.address})
        for place in live
    ]
    done = [_intervention(each) for each in sources.interventions if each.release == release.tag]
    return (*stages, *done, *deployed, _predictions(release, sources, prediction))


def _intervention(made: Intervention) -> ChainNode:
    facts = {"environment": made.environment, "deed": made.deed, "who": made.who, "why": made.why, "date": made.date,
             "evidence": made.evidence}  # fmt: skip
    said = f"{made.deed} in {made.environment} {_moment(made.date)} by {made.who}: {made.why}"
    return ChainNode("intervention", made.tag, said, facts)


def _stage(stage: Stage, after: Stage | None) -> ChainNode:
    until = f"until {_moment(after.date)} ({after.tag})" if after else "and should be live there now"
    said = f"{_DONE[stage.action]} {_moment(stage.date)} by {stage.who}, {until}"
    facts = {"environment": stage.environment, "action": stage.action, "who": stage.who, "why": stage.why,
             "date": stage.date, "until": after and after.date, "next": after and after.tag}  # fmt: skip
    return ChainNode("stage", stage.tag, f"{said}: {stage.why}" if stage.why else said, facts)


def _predictions(release: Release, sources: Sources, prediction: ChainNode | None) -> ChainNode:
    found = count_predictions(sources.state, release.tag)
    said = f"{count(found.count, 'request')} in this machine's logs, {found.first[:19]} to {found.last[:19]}"
    facts = {"requests": found.count, "first": found.first or None, "last": found.last or None}
    shown = () if prediction is None else (prediction,)
    return ChainNode(
        "predictions", f"{release.tag}:…", said if found.count else "none in this machine's logs", facts, shown
    )


def describe_commit(commit: Commit) -> str:
    """Say what a commit is."""
    return f"{commit.date:%Y-%m-%d}, {commit.subject}, by {commit.author}"


def commit_facts(commit: Commit | None) -> dict[str, Any]:
    """Read the facts of a commit for programs; None if the commit is not here."""
    names = ("date", "subject", "author")
    return {name: getattr(commit, name) if commit else None for name in names}


def _span(keys: tuple[str, ...]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} … {keys[-1]}"


def _moment(date: datetime | None) -> str:
    return f"{date:%Y-%m-%d %H:%M}" if date else ""
