"""The lineage of a release as a graph: data commit → partitions → steps → release → deployments.

Which partitions changed is told by content: the recipe of the step normalize, kept in its artifact's manifest, names
the digest of each partition's features, so two releases are compared without opening a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.delivery.releases import Release
from pipeline.messages import count
from pipeline.operations.provenance.commits import DataCommit, Lookup
from pipeline.operations.provenance.partitions import Partitions, compare_partitions, digests_of
from pipeline.storage.artifacts import Artifact
from pipeline.ui.pages.formatting import short_seconds, span_of

Find = Callable[[str], Artifact | None]
Tone = Literal["", "new", "same", "good", "bad", "wait"]
WHOLE = ("normalize", "train", "evaluate")


@dataclass(frozen=True)
class LineageNode:
    """A box of the graph.

    Attributes
    ----------
    tone : str
        ``new`` was made for this release, ``same`` was taken from an earlier one.
    items : tuple of str
        What it stands for, folded away: the partitions.
    title : str
        In full, where the lines are short.
    """

    head: str
    lines: tuple[str, ...] = ()
    tone: Tone = ""
    items: tuple[str, ...] = ()
    title: str = ""
    link: str = ""


@dataclass(frozen=True)
class Edge:
    """A connection between neighbouring columns, by heights in per cent; and whether anything new went over it."""

    start: float
    end: float
    is_new: bool


@dataclass(frozen=True)
class Column:
    """Boxes of one kind, and what connects them with the next column.

    Attributes
    ----------
    chained : bool
        Whether its boxes follow one another.
    """

    head: str
    nodes: tuple[LineageNode, ...]
    edges: tuple[Edge, ...] = ()
    chained: bool = False


def trace(
    release: Release, previous: Release | None, find: Find, look_up: Lookup, places: Sequence[LineageNode]
) -> tuple[Column, ...]:
    """Build the graph of a release.

    Parameters
    ----------
    previous : Release or None
        The one before, with which it is compared.
    places : sequence of LineageNode
        Where it is or was live.
    """
    made = {step: find(release.evidence.artifacts.get(step, "")) for step in WHOLE}
    partitions = compare_partitions(digests_of(made["normalize"]), digests_of(_normalized(previous, find)))
    groups = _groups(release, partitions)
    steps = _steps(release, made, partitions)
    return (
        _connect(Column("Git", _origins(release, previous, look_up)), len(groups), only=0, fan=True),
        _connect(Column("Partitions", groups), 1),
        _connect(Column("Steps", steps, chained=True), 1),
        _connect(Column("Release", (_released(release),)), len(places), fan=True),
        Column("Live", tuple(places)),
    )


def _normalized(release: Release | None, find: Find) -> Artifact | None:
    return find(release.evidence.artifacts.get("normalize", "")) if release else None


def _origins(release: Release, previous: Release | None, look_up: Lookup) -> tuple[LineageNode, ...]:
    evidence, before = release.evidence, previous.evidence if previous else None
    data, spec = look_up(evidence.data_commit), evidence.spec_commit

    def tone(name: str) -> Tone:
        return "new" if before is None or getattr(before, name) != getattr(evidence, name) else "same"

    return (
        _commit_node("Data commit", data, "same" if before and before.data_commit == evidence.data_commit else "new"),
        LineageNode("Spec commit", (spec[:10], evidence.spec_path), tone("spec_commit"), title=spec),
        LineageNode("Code", (evidence.code,), tone("code"), title=evidence.code),
    )  # fmt: skip


def _commit_node(head: str, data: DataCommit, tone: Tone) -> LineageNode:
    if data.commit is None:
        return LineageNode(head, (data.short,), tone)
    commit = data.commit
    lines = (f"{data.short}, {commit.date:%Y-%m-%d}", commit.subject)
    return LineageNode(head, lines, tone, title=f"{commit.id} {commit.subject}")


def _groups(release: Release, partitions: Partitions | None) -> tuple[LineageNode, ...]:
    if partitions is None:
        return (
            LineageNode(count(release.evidence.partitions, "partition"), ("what changed is no longer in the store",)),
        )
    kinds: tuple[tuple[str, tuple[str, ...], Tone], ...] = (
        ("new", partitions.added, "new"),
        ("changed", partitions.changed, "new"),
        ("reused", partitions.same, "same"),
        ("removed", partitions.removed, "bad"),
    )
    return tuple(
        LineageNode(f"{len(keys):,} {word}", (span_of(keys),), tone, keys) for word, keys, tone in kinds if keys
    )


def _steps(
    release: Release, made: Mapping[str, Artifact | None], partitions: Partitions | None
) -> tuple[LineageNode, ...]:
    counts = (
        (f"new in {len(partitions.new):,} of {count(release.evidence.partitions, 'partition')}",) if partitions else ()
    )
    tone: Tone = "new" if partitions is None or partitions.new else "same"
    pairs = (LineageNode("clean", counts, tone), LineageNode("transform", counts, tone))
    return (*pairs, *(_step(step, artifact, release) for step, artifact in made.items()))


def _step(step: str, artifact: Artifact | None, release: Release) -> LineageNode:
    if artifact is None:
        return LineageNode(step, ("no longer in the store",))
    manifest = artifact.manifest
    own = manifest["commits"]["data"] == release.evidence.data_commit
    rows = f", {manifest['rows']:,} rows" if manifest.get("rows") else ""
    said = f"{short_seconds(manifest['seconds'])}{rows}" if own else f"made for data {manifest['commits']['data'][:10]}"
    return LineageNode(step, (said,), "new" if own else "same", title=artifact.key)


def _released(release: Release) -> LineageNode:
    passed = sum(line.endswith(": passed") for line in release.evidence.verdict)
    gate = f"gate: {passed} of {len(release.evidence.verdict)} passed" if passed else "no gate"
    date = f"{release.date:%Y-%m-%d %H:%M}" if release.date else ""
    return LineageNode(f"v{release.version}", (gate, date), "good", title=release.tag)


def _connect(column: Column, targets: int, *, only: int | None = None, fan: bool = False) -> Column:
    """Connect every box (or only one) with the middle of the next column, or with each of its boxes."""
    many = len(column.nodes)
    sources = range(many) if only is None else (only,)
    ends = [(place + 0.5) / targets * 100 for place in range(targets)] if fan and targets else [50.0]
    edges = tuple(
        Edge((place + 0.5) / many * 100, end, column.nodes[place].tone != "same") for place in sources for end in ends
    )
    if column.chained:
        edges = (Edge(50.0, 50.0, is_new=True),)
    return Column(column.head, column.nodes, edges, column.chained)
