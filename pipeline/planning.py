"""The plan: which steps must run, for which partitions, and why. Nothing here runs or writes anything.

A step's key is the hash of its recipe: its code, its part of the spec, and the digests of its inputs'
content. What the store holds under that key is reused. Where an input is yet to be computed the key is not
known: the step waits, and is still reused if the input turns out to have the same bytes as before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.frames import merge_columns
from pipeline.job import Job
from pipeline.recipes import STEPS, Recipe, digest_of, method_of
from pipeline.release import Release, same_model
from pipeline.spec.schema import ColumnType, Spec
from pipeline.stages import Standing
from pipeline.store import Artifact

Action = Literal["run", "reuse", "wait"]


@dataclass(frozen=True)
class Node:
    """A step of this run, for one partition or for all: its recipe, once known, and its artifact, once there."""

    step: str
    partition: str | None
    recipe: Recipe | None
    artifact: Artifact | None


@dataclass(frozen=True)
class PlannedStep:
    """A line of the plan.

    Attributes
    ----------
    estimate_s : float or None
        Seconds, from the last time; None if it never ran here.
    """

    step: str
    partition: str | None
    action: Action
    reason: str
    estimate_s: float | None = None


PARTITIONED = ("clean", "transform")
# What later steps read of an artifact, where that is not all: a row more in the quarantine must not train anew.
_READ = {"clean": ("rows.parquet",)}
ORDER = ("clean", "transform", "normalize", "train", "evaluate", "release", "deploy", "verify")


def resolve(
    job: Job, find: Callable[[str], Artifact | None], champion: Callable[[str], Release | None]
) -> dict[str, list[Node]]:
    """Follow the chain of steps as far as the store knows it.

    Parameters
    ----------
    find : callable
        Key → artifact or None.
    champion : callable
        Digest of a model → the release that it is judged against, or None.

    Returns
    -------
    dict
        Step → its nodes: one for each partition (clean, transform), or a single one.
    """
    methods = {step: method_of(step, job.spec) for step in STEPS}

    def node(step: str, partition: str | None, inputs: Mapping[str, str] | None) -> Node:
        recipe = None if inputs is None else Recipe(methods[step], inputs)
        return Node(step, partition, recipe, find(recipe.key) if recipe else None)

    clean = [node("clean", key, {"data": file.id}) for key, file in job.partitions.items()]
    columns = columns_of(job.spec, clean)
    transform = [node("transform", each.partition, _transform_inputs(each, columns)) for each in clean]
    normalize = node("normalize", None, _digests(transform))
    train = node("train", None, _digests([normalize]))
    evaluate = node("evaluate", None, _evaluate_inputs(train, clean, transform, champion))
    return {"clean": clean, "transform": transform, "normalize": [normalize], "train": [train], "evaluate": [evaluate]}


def columns_of(spec: Spec, clean: Sequence[Node]) -> dict[str, ColumnType] | None:
    """Give every column's type: as declared, else as found in the partitions, once all of them are read."""
    if spec.data.columns:
        return {name: column.type for name, column in spec.data.columns.items()}
    if any(each.artifact is None for each in clean):
        return None
    return merge_columns({str(each.partition): each.artifact.manifest["columns"] for each in clean if each.artifact})


def champion_of(released: Sequence[Release], standing: Standing, model_digest: str) -> Release | None:
    """Give the release that a candidate is judged against: what is live in its environment, else the newest.

    Where the candidate itself is live, what was live before it; where nothing ever was, what was released before it.
    So the answer does not change once the candidate is deployed.
    """
    others = {each.version: each for each in released if each.evidence.model_digest != model_digest}
    if live := next((others[each] for each in reversed(standing.live) if each in others), None):
        return live
    own = same_model(released, model_digest)
    earlier = [each for each in others.values() if own is None or each.version < own.version]
    return next((each for each in reversed(earlier) if each.version not in standing.withdrawn), None)


def plan(
    nodes: Mapping[str, Sequence[Node]], last: Callable[[str, str | None], Mapping[str, Any] | None], *, force: bool
) -> list[PlannedStep]:
    """Say of each step and partition whether it is reused, and if not, why.

    Parameters
    ----------
    last : callable
        (step, partition) → what is known of its last time here (``key``, ``seconds``, ``recipe``), or None.
    force : bool
        Run everything, whatever the store holds.
    """
    return [_line(node, last(node.step, node.partition), force=force) for step in STEPS for node in nodes[step]]


def _line(node: Node, last: Mapping[str, Any] | None, *, force: bool) -> PlannedStep:
    estimate = None if last is None else last["seconds"]
    if node.recipe is None:
        return PlannedStep(node.step, node.partition, "wait", "its input is computed first", estimate)
    if node.artifact is not None and not force:
        return PlannedStep(node.step, node.partition, "reuse", "nothing changed", 0.0)
    if node.artifact is not None:
        return PlannedStep(node.step, node.partition, "run", "forced", estimate)
    return PlannedStep(node.step, node.partition, "run", _reason(node.recipe, last), estimate)


def _reason(recipe: Recipe, last: Mapping[str, Any] | None) -> str:
    if last is None:
        return "it never ran here"
    if last["key"] == recipe.key:
        return "its artifact is missing from the store"
    if last["recipe"] is None:
        return "its last artifact, with which to compare, is gone"
    now, before = recipe.to_json(), last["recipe"]
    if now["inputs"] != before["inputs"]:
        return "the data changed" if recipe.method.step == "clean" else "its input changed"
    changed = [path for path, digest in now["settings"].items() if before["settings"].get(path) != digest]
    if changed:
        return f"the spec changed: {', '.join(changed)}"
    if now["code"] != before["code"]:
        return "the step's code changed"
    upgraded = [f"{name} {before['libraries'].get(name, '?')} → {each}" for name, each in now["libraries"].items()
                if before["libraries"].get(name) != each]  # fmt: skip
    return f"a library changed: {', '.join(upgraded)}"


def _transform_inputs(clean: Node, columns: Mapping[str, str] | None) -> dict[str, str] | None:
    if clean.artifact is None or columns is None:
        return None
    return {"rows": _content("clean", clean.artifact), "columns": digest_of(columns)}


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
    """Give each input's digest by its name, or None while one is not there."""
    if any(each.artifact is None for each in nodes):
        return None
    return {
        f"{each.step}/{each.partition or 'all'}": _content(each.step, each.artifact) for each in nodes if each.artifact
    }


def _content(step: str, artifact: Artifact) -> str:
    """Give the digest of what later steps read of an artifact."""
    names = _READ.get(step)
    return digest_of([artifact.manifest["files"][name]["sha256"] for name in names]) if names else artifact.digest
