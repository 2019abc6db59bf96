"""Differences between two releases, and between two environments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pipeline.messages import count
from pipeline.ui.terminal.sections import Section

if TYPE_CHECKING:
    from pipeline.delivery.environments import EnvironmentStatus
    from pipeline.operations.data_comparison import Difference, Partition
    from pipeline.operations.provenance.differences import ArtifactChange, ImportanceChange, ReleaseDifference
    from pipeline.operations.provenance.environments import EnvironmentDifference
    from pipeline.operations.provenance.metrics import MetricChange
    from pipeline.spec.comparing import Change
    from pipeline.steps.evaluate.results import Estimate

_MOST_PARTITIONS = 20
_MOST_COLUMNS = 15
_SMALL = 5e-5  # a change of importance below it reads 0.0000


def release_title(found: ReleaseDifference) -> str:
    """Head a comparison of two releases."""
    return f"{found.before.tag} → {found.after.tag}"


def release_sections(found: ReleaseDifference) -> list[Section]:
    """Say what differs between two releases; what does not is left out, or said in a line."""
    return [section for section in _release_sections(found) if section.rows or section.lines]


def _release_sections(found: ReleaseDifference) -> Iterator[Section]:
    yield _commits(found)
    yield _spec("Spec", found.spec, "nothing differs")
    if found.data is not None:
        yield _data(found.data)
    yield Section(
        "Metrics",
        ("metric", ">before", ">after", ">difference", ""),
        [_metric(each) for each in found.metrics],
    )
    yield _importances(found.importances, found.importance_metric)
    yield _signature(found)
    yield Section("Artifacts", ("step", "before", "after", ""), [_artifact(each) for each in found.artifacts])
    yield Section("Notes", lines=found.notes)


def _commits(found: ReleaseDifference) -> Section:
    one, other = found.before.evidence, found.after.evidence
    pairs = [
        ("data", one.data_commit[:12], other.data_commit[:12]),
        ("spec", one.spec_commit[:12], other.spec_commit[:12]),
        ("code", one.code, other.code),
        ("environment", one.environment or "none", other.environment or "none"),
        ("image", (one.image or "none")[:19], (other.image or "none")[:19]),
        ("MLflow run", (one.mlflow_run or "none")[:12], (other.mlflow_run or "none")[:12]),
        ("by", one.who, other.who),
        ("why", one.why or "its gate", other.why or "its gate"),
    ]
    rows = [(name, before, "the same" if before == after else after) for name, before, after in pairs]
    shown = [row for row in rows if row[1:] != ("none", "the same")]
    commits = found.code.commits
    told = [f"{count(len(commits), 'commit')} to the code in between: {'; '.join(commits[:5])}"] if commits else []
    return Section("Commits", ("", "before", "after"), shown, told)


def _spec(head: str, changes: Sequence[Change], nothing: str) -> Section:
    rows = [(each.path, *each.sides) for each in changes]
    return Section(head, ("key", "before", "after"), rows, () if rows else (nothing,))


def _data(found: Difference) -> Section:
    if found.before == found.after:
        return Section("Data", lines=("the same commit",))
    shown, rest = found.partitions[:_MOST_PARTITIONS], len(found.partitions) - _MOST_PARTITIONS
    kinds = [each.kind for each in found.partitions]
    counts = [f"{kinds.count(kind):,} {kind}" for kind in ("added", "changed", "removed") if kind in kinds]
    lines = [
        *([f"… and {rest:,} more"] if rest > 0 else []),
        f"{', '.join([*counts, f'{found.unchanged:,} unchanged'])}",
    ]
    moved = [each.name for each in found.columns]
    if moved:
        more = f" and {len(moved) - _MOST_COLUMNS} more" if len(moved) > _MOST_COLUMNS else ""
        lines.append(f"columns that moved: {', '.join(moved[:_MOST_COLUMNS])}{more} ('modelrail data diff' says how)")
    rows = [_partition(each) for each in shown]
    return Section("Data", ("partition", "", ">rows before", ">rows after", ">difference"), rows, lines)


def _partition(each: Partition) -> tuple[str, ...]:
    before, after = each.rows_before, each.rows_after
    sides = ["–" if side is None else f"{side:,}" for side in (before, after)]
    gone = 0 if each.kind == "removed" else None
    come = 0 if each.kind == "added" else None
    one, other = before if before is not None else come, after if after is not None else gone
    difference = each.trouble or ("–" if one is None or other is None else f"{other - one:+,}")
    return (each.key, each.kind, *sides, difference)


def _metric(each: MetricChange) -> tuple[str, ...]:
    difference = "" if each.difference is None else f"{each.difference:+.4f}"
    verdict = {None: "level" if each.difference is not None else "", True: "better", False: "worse"}[each.better]
    clearly = " (clearly)" if each.clear and each.better is not None else ""
    return (each.metric, _estimate(each.before), _estimate(each.after), difference, verdict + clearly)


def _estimate(found: Estimate | None) -> str:
    if found is None or found.value is None:
        return "–"
    between = f" [{found.low:.4f}, {found.high:.4f}]" if found.low is not None and found.high is not None else ""
    return f"{found.value:.4f}{between}"


def _importances(changes: Sequence[ImportanceChange], metric: str) -> Section:
    rows = [(each.column, *_drops(each)) for each in changes[:_MOST_COLUMNS]]
    more = [f"… and {len(changes) - _MOST_COLUMNS} more columns"] if len(changes) > _MOST_COLUMNS else []
    head = f"Importance (loss of {metric} when a column is shuffled)"
    return Section(head, ("column", ">before", ">after", ">difference"), rows, more)


def _drops(each: ImportanceChange) -> tuple[str, str, str]:
    before, after = each.before, each.after
    sides = ["–" if side is None else f"{side:.4f}" for side in (before, after)]
    if before is None or after is None:
        return sides[0], sides[1], "came" if before is None else "went"
    return sides[0], sides[1], f"{after - before:+.4f}" if abs(after - before) >= _SMALL else ""


def _signature(found: ReleaseDifference) -> Section:
    section = _spec("Signature", found.signature, "")
    verdict = "breaks callers" if found.breaks_callers else "callers need not change"
    return Section(section.head, section.columns, section.rows, (verdict,) if section.rows else ())


def _artifact(each: ArtifactChange) -> tuple[str, ...]:
    if each.before == each.after:
        return (each.step, each.before[:12], "the same", "")
    return (each.step, each.before[:12], each.after[:12], "; ".join(each.why))


def environment_title(found: EnvironmentDifference) -> str:
    """Head a comparison of two environments."""
    return f"{found.model}: {found.before} → {found.after}"


def environment_sections(found: EnvironmentDifference) -> list[Section]:
    """Say what differs between two environments, and what should be live in each."""
    names = (found.before, found.after)
    rows = [(name, *_status(place)) for name, place in zip(names, found.live, strict=True)]
    return [
        _spec("Spec", found.changes, "nothing differs"),
        Section("Should be live", ("environment", "release", "since", "by", "on this machine"), rows),
    ]


def _status(place: EnvironmentStatus | None) -> tuple[str, str, str, str]:
    if place is None:
        return ("nothing yet", "", "", "")
    if place.state == "waiting":
        return ("nothing yet", "", "", place.said)
    stage, since = place.stage, f"{place.since:%Y-%m-%d %H:%M}" if place.since else ""
    return (stage.release if stage else "no stage in Git", since, stage.who if stage else "", place.said)
