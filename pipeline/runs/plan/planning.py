"""The plan: which steps must run, for which partitions, and why. Nothing here runs or writes anything.

A step's key is the hash of its recipe: its code, its part of the spec, and the digests of its inputs'
content. What the store holds under that key is reused. Where an input is yet to be computed the key is not
known: the step waits, and is still reused if the input turns out to have the same bytes as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from pipeline.delivery.releases import Release, same_model
from pipeline.delivery.stages import Standing
from pipeline.model.columns import ColumnType, merge_columns
from pipeline.runs.job import Job
from pipeline.runs.plan.reasons import Before, Took, explain, explain_waiting
from pipeline.runs.plan.recipes import STEPS, Method, Recipe, digest_of, method_of
from pipeline.spec.image_columns import with_parts
from pipeline.spec.schema.spec import Spec
from pipeline.storage.artifacts import Artifact

Action = Literal["run", "reuse", "wait"]


@dataclass(frozen=True)
class Node:
    """A step of this run, for one partition or for all: its recipe, once known, and its artifact, once there."""

    step: str
    partition: str | None
    recipe: Recipe | None
    artifact: Artifact | None
    method: Method | None = None

    @cached_property
    def content(self) -> str:
        """Digest of what later steps read of the artifact, which is there."""
        if self.artifact is None:
            raise ValueError(f"{self.step}: expected its artifact to be there")
        return content_of(self.step, self.artifact)


@dataclass(frozen=True)
class PlannedStep:
    """A line of the plan.

    Attributes
    ----------
    estimate_s, cpu_s, peak_bytes : float or None
        What it took the last time, or for a new partition what is usual for the others; None if it never ran here.
    """

    step: str
    partition: str | None
    action: Action
    reason: str
    estimate_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: float | None = None


PARTITIONED = ("clean", "transform")
# What later steps read of an artifact, where that is not all: a row more in the quarantine must not train anew.
_READ = {"clean": ("rows.parquet",)}
ORDER = ("clean", "transform", "normalize", "train", "evaluate", "release", "deploy", "verify")


def content_of(step: str, artifact: Artifact) -> str:
    """Return the digest of what later steps read of an artifact."""
    names = _READ.get(step)
    files = artifact.manifest["files"]
    return digest_of([files[name]["sha256"] for name in names]) if names else artifact.digest


Find = Callable[[Iterable[str]], Mapping[str, Artifact]]


def resolve(job: Job, find: Find, champion: Callable[[str], Release | None]) -> dict[str, list[Node]]:
    """Follow the chain of steps as far as the store knows it.

    Parameters
    ----------
    find : callable
        Keys → those of the artifacts that there are, by key.
    champion : callable
        Digest of a model → the release that it is judged against, or None.

    Returns
    -------
    dict
        Step → its nodes: one for each partition (clean, transform), or a single one.
    """
    methods = {step: method_of(step, job.spec) for step in STEPS}

    def nodes(step: str, inputs: Mapping[str | None, Mapping[str, str] | None]) -> list[Node]:
        recipes = {name: None if each is None else Recipe(methods[step], each) for name, each in inputs.items()}
        found = find(recipe.key for recipe in recipes.values() if recipe)
        return [
            Node(step, name, each, found.get(each.key) if each else None, methods[step])
            for name, each in recipes.items()
        ]

    clean = nodes("clean", {key: {"data": file.id} for key, file in job.partitions.items()})
    columns = columns_of(job.spec, clean)
    types = None if columns is None else digest_of(columns)
    transform = nodes("transform", {each.partition: _transform_inputs(each, types) for each in clean})
    normalize = nodes("normalize", {None: _typed(_digests(transform), types)})
    train = nodes("train", {None: _typed(_digests(normalize), types)})
    evaluate = nodes("evaluate", {None: _typed(_evaluate_inputs(train[0], clean, transform, champion), types)})
    return {"clean": clean, "transform": transform, "normalize": normalize, "train": train, "evaluate": evaluate}


def columns_of(spec: Spec, clean: Sequence[Node]) -> dict[str, ColumnType] | None:
    """List every column's type: as declared, else as found in the partitions, once all of them are read."""
    if spec.data.columns:
        return with_parts({name: column.type for name, column in spec.data.columns.items()}, spec.data)
    if any(each.artifact is None for each in clean):
        return None
    return merge_columns({str(each.partition): each.artifact.manifest["columns"] for each in clean if each.artifact})


def champion_of(released: Sequence[Release], standing: Standing, model_digest: str) -> Release | None:
    """Find the release that a candidate is compared with: what is live in its environment, else the newest.

    Where the candidate itself is live, what was live before it; where nothing ever was, what was released before it.
    So the answer does not change once the candidate is deployed.
    """
    others = {each.version: each for each in released if each.evidence.model_digest != model_digest}
    if live := next((others[each] for each in reversed(standing.live) if each in others), None):
        return live
    own = same_model(released, model_digest)
    earlier = [each for each in others.values() if own is None or each.version < own.version]
    return next((each for each in reversed(earlier) if each.version not in standing.withdrawn), None)


class Last(Protocol):
    """What is known of steps that ran before."""

    def knows(self, step: str) -> bool:
        """Tell whether anything is known of a step, for whichever partition."""

    def last(self, step: str, partition: str | None) -> Before | None:
        """Return what is known of the last time; None if there was none."""

    def typical(self, step: str) -> Took | None:
        """Return what a step usually takes for a partition; None if it never ran."""


def plan(nodes: Mapping[str, Sequence[Node]], known: Last, *, force: bool) -> list[PlannedStep]:
    """Say of each step and partition whether it is reused, and if not, why.

    Parameters
    ----------
    force : bool
        Run everything, whatever the store holds.
    """
    return [_line(node, known, force=force) for step in STEPS for node in nodes[step]]


def _line(node: Node, known: Last, *, force: bool) -> PlannedStep:
    if node.artifact is not None and not force:
        return PlannedStep(node.step, node.partition, "reuse", "nothing changed", 0.0, 0.0, 0.0)
    before = known.last(node.step, node.partition)
    usual = (before and before.took) or known.typical(node.step)
    took = (usual.seconds, usual.cpu_s, usual.peak_bytes) if usual else (None, None, None)
    if node.recipe is None:
        return PlannedStep(node.step, node.partition, "wait", explain_waiting(node.method, before), *took)
    reason = "forced" if node.artifact else explain(node.recipe, before, known=known.knows(node.step))
    return PlannedStep(node.step, node.partition, "run", reason, *took)


def _transform_inputs(clean: Node, types: str | None) -> dict[str, str] | None:
    return None if clean.artifact is None else _typed({"rows": clean.content}, types)


def _typed(inputs: dict[str, str] | None, types: str | None) -> dict[str, str] | None:
    """Add the types of the columns: `1` and `1.0` are the same number, and not the same to who calls the model."""
    return None if inputs is None or types is None else {**inputs, "columns": types}


def _evaluate_inputs(
    train: Node, clean: Sequence[Node], transform: Sequence[Node], champion: Callable[[str], Release | None]
) -> dict[str, str] | None:
    rows = _digests([*clean, *transform])
    if train.artifact is None or rows is None:
        return None
    judged_against = champion(train.artifact.digest)
    return {
        "model": train.artifact.digest,
        "champion": judged_against.evidence.model_digest if judged_against else "none",
        "rows": digest_of(rows),
    }


def _digests(nodes: Sequence[Node]) -> dict[str, str] | None:
    """List each input's digest by its name; None while one is not there."""
    if any(each.artifact is None for each in nodes):
        return None
    return {f"{each.step}/{each.partition or 'all'}": each.content for each in nodes}
