"""The plan: which steps must run, for which partitions, and why. Nothing here runs or writes anything.

A step's key is the hash of its recipe: its code, its part of the spec, and the digests of its inputs'
content. What the store holds under that key is reused. Where an input is yet to be computed the key is not
known: the step waits, and is still reused if the input turns out to have the same bytes as before.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Literal, Protocol

from pipeline.delivery.releases import Release, same_model
from pipeline.delivery.stages import Standing
from pipeline.errors import InputError
from pipeline.model.columns import ColumnType, merge_columns
from pipeline.runs.job import Job
from pipeline.runs.plan.reasons import Before, Took, explain, explain_waiting
from pipeline.runs.plan.recipes import STEPS, Method, Recipe, digest_of, methods_of
from pipeline.runs.plan.split_bounds import clip, describe_bounds, fix, times_of
from pipeline.spec.image_columns import with_parts
from pipeline.spec.schema.spec import Spec, Split
from pipeline.storage.artifacts import Artifact, digest_listing

Action = Literal["run", "reuse", "wait"]


@dataclass(frozen=True)
class Node:
    """A step of this run, for one partition or for all: its recipe, once known, and its artifact, once there.

    Attributes
    ----------
    partition : str or None
        The first one, where it is for a pack of several (`pipeline.runs.packs`).
    partitions : tuple of str
        All that it is for; none where it is for all of the run.
    """

    step: str
    partition: str | None
    recipe: Recipe | None
    artifact: Artifact | None
    method: Method | None = None
    partitions: tuple[str, ...] = ()

    def is_asked(self, partitions: Collection[str] | None) -> bool:
        """Tell whether it is for one of these partitions; None stands for all."""
        return partitions is None or any(each in partitions for each in self.partitions)

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
    partitions : int
        How many it is for, the named one the first of them.
    """

    step: str
    partition: str | None
    action: Action
    reason: str
    estimate_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: float | None = None
    partitions: int = 1


PARTITIONED = ("clean", "transform")
MEMBERS = "members"
"""In the manifest of a pack's artifact, by partition: its rows (clean), the digest of its features (transform)."""
# What later steps read of an artifact, where that is not all: a row more in the quarantine must not train anew.
_READ = {"clean": ("rows.parquet",)}
# What `train` does not read of an artifact: the reference of what callers send is no part of the model.
_UNREAD = {"normalize": ("columns.json",)}
ORDER = ("clean", "transform", "normalize", "train", "evaluate", "release", "deploy", "verify")


def content_of(step: str, artifact: Artifact) -> str:
    """Return the digest of what later steps read of an artifact."""
    digests = {name: file["sha256"] for name, file in artifact.manifest["files"].items()}
    if names := _READ.get(step):
        members = artifact.manifest.get(MEMBERS)
        return digest_of([*(digests[name] for name in names), *([members] if members else [])])
    unread = digests.keys() & _UNREAD.get(step, ())
    if not unread:
        return artifact.digest
    return digest_listing({name: digest for name, digest in digests.items() if name not in unread})


Find = Callable[[Iterable[str]], Mapping[str, Artifact]]
Champion = Callable[[str], Release | None]


class Chain:
    """The steps of a job, followed as far as the store knows them; each is looked at once, until it has run.

    Parameters
    ----------
    find : callable
        Keys → those of the artifacts that there are, by key.
    champion : callable
        Digest of a model → the release that it is judged against, or None.
    """

    def __init__(self, job: Job, find: Find, champion: Champion) -> None:
        self.job = job
        self._find, self._champion = find, champion
        self._nodes: dict[str, list[Node]] = {}
        self._named: dict[str, tuple[list[Node], Mapping[str | None, Node]]] = {}
        self._typed: tuple[list[Node], dict[str, ColumnType] | None, str | None] | None = None
        self._fixed: tuple[list[Node], Split | None] | None = None

    @cached_property
    def methods(self) -> Mapping[str, Method]:
        """How each step works."""
        return methods_of(self.job.spec)

    def nodes(self, step: str) -> list[Node]:
        """Return a step's nodes: one for each partition (clean, transform), or a single one."""
        if step not in self._nodes:
            self._nodes[step] = self._look_up(step, self._recipes(step))
        return self._nodes[step]

    def artifact(self, step: str) -> Artifact:
        """Return the artifact of a step that has one for all partitions and has run."""
        (node,) = self.nodes(step)
        if node.artifact is None:
            raise InputError(f"found nothing that '{step}' made; expected that step to have run: run them in order")
        return node.artifact

    def columns(self) -> dict[str, ColumnType]:
        """Return every column's type; all partitions are clean by now."""
        columns, _ = self._types
        if columns is None:
            raise InputError("transform: found partitions that are not clean; expected the step 'clean' to have run")
        return columns

    def split(self) -> Split:
        """Return the split, with fixed bounds where it goes by time; all partitions are clean by now."""
        split = self._split
        if split is None:
            raise InputError("transform: found partitions that are not clean; expected the step 'clean' to have run")
        return split

    def evaluation(self, rivals: Iterable[Release | None]) -> Artifact:
        """Return what `evaluate` made of the model, also if it was judged against another release than it would be now.

        Parameters
        ----------
        rivals : iterable of Release or None
            Whom it may have been judged against; the likeliest first.
        """
        for rival in rivals:
            (node,) = self._look_up("evaluate", {None: self._evaluation_recipe(partial(_always, rival))})
            if node.artifact is not None:
                return node.artifact
        return self.artifact("evaluate")

    def advance(self, step: str) -> list[Node]:
        """Look up what a step has just made; what its later steps' recipes are is seen when they are asked for."""
        recipes = {node.partition: node.recipe for node in self.nodes(step)}
        self.forget(step)
        self._nodes[step] = self._look_up(step, recipes)
        return self._nodes[step]

    def forget(self, step: str) -> None:
        """Follow the chain anew from a step on."""
        names = list(STEPS)
        for later in names[names.index(step) :]:
            self._nodes.pop(later, None)

    def node(self, step: str, partition: str | None) -> Node:
        """Return a step's node by its (first) partition."""
        nodes = self.nodes(step)
        if step not in self._named or self._named[step][0] is not nodes:
            self._named[step] = (nodes, {each.partition: each for each in nodes})
        return self._named[step][1][partition]

    def _look_up(self, step: str, recipes: Mapping[str | None, Recipe | None]) -> list[Node]:
        keys = [recipe.key for recipe in recipes.values() if recipe]
        found = self._find(keys) if keys else {}
        method, packs = self.methods[step], self.job.packs
        return [
            Node(step, name, each, found.get(each.key) if each else None, method, packs[name] if name else ())
            for name, each in recipes.items()
        ]

    def _recipes(self, step: str) -> dict[str | None, Recipe | None]:
        """Return each node's recipe, by its partition; None while an input is not there."""
        if step == "clean":
            data = {name: data_inputs(self.job, keys) for name, keys in self.job.packs.items()}
            return {name: Recipe(self.methods[step], each) for name, each in data.items()}
        if step == "transform":
            return {each.partition: self._recipe(step, self._inputs_of(each)) for each in self.nodes("clean")}
        if step == "evaluate":
            return {None: self._evaluation_recipe(self._champion)}
        return {None: self._recipe(step, _digests(self.nodes("transform" if step == "normalize" else "normalize")))}

    def _recipe(self, step: str, inputs: Mapping[str, str] | None) -> Recipe | None:
        """Add the types of the columns: `1` and `1.0` are the same number, and not the same to who calls the model."""
        if inputs is None:
            return None
        _, types = self._types
        return None if types is None else Recipe(self.methods[step], {**inputs, "columns": types})

    def _inputs_of(self, clean: Node) -> dict[str, str] | None:
        """Return what `transform` reads of a partition: its rows, and how far the bounds of the split reach into it."""
        if clean.artifact is None or self._split is None:
            return None
        rows = {"rows": clean.content}
        if self._split.by != "time":
            return rows
        return rows | {"split": digest_of(clip(self._split, times_of(clean.artifact.manifest, self._split)))}

    @property
    def _split(self) -> Split | None:
        """The split with fixed bounds; None while a partition is yet to be read."""
        clean = self.nodes("clean")
        if self._fixed is None or self._fixed[0] is not clean:
            self._fixed = (clean, split_of(self.job.spec, clean))
        return self._fixed[1]

    @property
    def _types(self) -> tuple[dict[str, ColumnType] | None, str | None]:
        """Every column's type, and their digest; None while a partition is yet to be read."""
        clean = self.nodes("clean")
        if self._typed is None or self._typed[0] is not clean:
            columns = columns_of(self.job.spec, clean)
            self._typed = (clean, columns, None if columns is None else digest_of(columns))
        return self._typed[1:]

    def _evaluation_recipe(self, champion: Champion) -> Recipe | None:
        (train,) = self.nodes("train")
        rows = _digests([*self.nodes("clean"), *self.nodes("transform")])
        if train.artifact is None or rows is None:
            return None
        judged_against = champion(train.artifact.digest)
        inputs = {
            "model": train.artifact.digest,
            "champion": judged_against.evidence.model_digest if judged_against else "none",
            "rows": digest_of(rows),
        }
        if self._split is not None and (bounds := describe_bounds(self._split)):
            inputs["split"] = digest_of(bounds)
        return self._recipe("evaluate", inputs)


def data_inputs(job: Job, partitions: Sequence[str]) -> dict[str, str]:
    """Return what `clean` reads: the digest of a partition's file, or those of a pack's."""
    if len(partitions) == 1:
        return {"data": job.partitions[partitions[0]].id}
    return {f"data/{each}": job.partitions[each].id for each in partitions}


def columns_of(spec: Spec, clean: Sequence[Node]) -> dict[str, ColumnType] | None:
    """Return every column's type: as declared, else as found in the partitions, once all of them are read."""
    if spec.data.is_complete:
        return with_parts({name: column.type for name, column in spec.data.columns.items()}, spec.data)
    if any(each.artifact is None for each in clean):
        return None
    return merge_columns({str(each.partition): each.artifact.manifest["columns"] for each in clean if each.artifact})


def split_of(spec: Spec, clean: Sequence[Node]) -> Split | None:
    """Return the split, with bounds that count back from the newest row fixed, once all partitions are read."""
    if spec.split.by != "time":
        return spec.split
    if any(each.artifact is None for each in clean):
        return None
    return fix(spec.split, [times_of(each.artifact.manifest, spec.split) for each in clean if each.artifact])


def champion_of(released: Sequence[Release], standing: Standing, model_digest: str) -> Release | None:
    """Return the release that a candidate is judged against: what is live in its environment, else the newest.

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


def plan(chain: Chain, known: Last, *, force: bool) -> list[PlannedStep]:
    """Say of each step and partition whether it is reused, and if not, why.

    Parameters
    ----------
    force : bool
        Run everything, whatever the store holds.
    """
    nodes = [node for step in STEPS for node in chain.nodes(step)]
    return [_line(node, known, force=force) for node in nodes]


def _line(node: Node, known: Last, *, force: bool) -> PlannedStep:
    line = partial(PlannedStep, node.step, node.partition, partitions=max(1, len(node.partitions)))
    if node.artifact is not None and not force:
        return line("reuse", "nothing changed", 0.0, 0.0, 0.0)
    before = known.last(node.step, node.partition)
    usual = (before and before.took) or known.typical(node.step)
    took = (usual.seconds, usual.cpu_s, usual.peak_bytes) if usual else (None, None, None)
    if node.recipe is None:
        return line("wait", explain_waiting(node.method, before), *took)
    reason = "forced" if node.artifact else explain(node.recipe, before, known=known.knows(node.step))
    return line("run", reason, *took)


def _always(rival: Release | None, _: str) -> Release | None:
    return rival


def _digests(nodes: Sequence[Node]) -> dict[str, str] | None:
    """Return each input's digest by its name, or None while one is not there."""
    if any(each.artifact is None for each in nodes):
        return None
    return {f"{each.step}/{each.partition or 'all'}": each.content for each in nodes}
