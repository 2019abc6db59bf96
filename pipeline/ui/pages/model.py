"""The page of one model: its lineage, its releases, the candidate next to the champion, the walk-forward chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.delivery.environments import EnvironmentStatus
from pipeline.delivery.releases import Release, Version
from pipeline.delivery.stages import Stage
from pipeline.errors import redact
from pipeline.operations.provenance.commits import DataCommit, Lookup
from pipeline.spec.catalogue.tasks import task_of
from pipeline.spec.catalogue.trainers import trainer_name
from pipeline.spec.schema.spec import Bound, Spec
from pipeline.ui.pages.archive import Archive, RepositoryView
from pipeline.ui.pages.charts import Chart, Measured, chart
from pipeline.ui.pages.costs import Bill, bill
from pipeline.ui.pages.environments import Health, find_statuses, judge_health
from pipeline.ui.pages.evaluations import Found, read_evaluation
from pipeline.ui.pages.fleet import Metric, course_of, headline_metric
from pipeline.ui.pages.formatting import moment
from pipeline.ui.pages.lineage import Column, LineageNode, trace
from pipeline.ui.pages.runs import RunFacts
from pipeline.ui.pages.specs import Source

PAGE = 20
"""Releases on one page of the history."""

ModelAction = Literal["promote", "rollback"]


@dataclass(frozen=True)
class Offer:
    """A change of what is live that somebody may ask for."""

    action: ModelAction
    environment: str


@dataclass(frozen=True)
class HistoryRow:
    """One release.

    Attributes
    ----------
    live : tuple of str
        Environments where it should be live now.
    offers : tuple of Offer
        Where it could be made live.
    """

    release: Release
    data: DataCommit
    live: tuple[str, ...]
    offers: tuple[Offer, ...]


@dataclass(frozen=True)
class Candidate:
    """The model that was evaluated last, next to the release that was live then."""

    said: str
    found: Found
    run: RunFacts | None


@dataclass(frozen=True)
class ModelPage:
    """All that the page of a model shows.

    Attributes
    ----------
    chosen : Release or None
        Whose lineage is shown; None while there is no release.
    walk : Chart or None
        The gate's metric over the as-of dates of backfilled runs.
    history : sequence of HistoryRow
        One page of it, newest first.
    columns : sequence of str
        Metrics that it shows, the gate's first.
    """

    source: Source
    trainer: str
    task: str
    gate: Sequence[str]
    data_address: str
    health: Health
    places: Sequence[EnvironmentStatus] = ()
    metric: Metric | None = None
    cost: Bill | None = None
    chosen: Release | None = None
    lineage: Sequence[Column] = ()
    candidate: Candidate | None = None
    trend: Chart | None = None
    walk: Chart | None = None
    history: Sequence[HistoryRow] = ()
    columns: Sequence[str] = ()
    stages: Sequence[Stage] = ()
    released: int = 0
    page: int = 1
    pages: int = 1
    runs: Sequence[RunFacts] = ()


def model_page(
    archive: Archive, source: Source, runs: Sequence[RunFacts], *, version: str = "", page: int = 1
) -> ModelPage:
    """Gather the page.

    Parameters
    ----------
    runs : sequence of RunFacts
        The model's latest runs, newest first, with what their tasks returned.
    version : str
        The release whose lineage is asked for; by default the newest.

    Raises
    ------
    ModelrailError
        If no Git repository holds the spec, or a tag has a release's name but is none.
    """
    spec = source.spec
    if spec is None:
        return ModelPage(source, "", "", (), "", judge_health(source.problems, (), ""), runs=runs)
    view = archive.view(source)
    history = view.tags.releases(source.name)
    stages = view.tags.stages(source.name)
    places = find_statuses(source, view)
    name = headline_metric(spec)
    pages = max(1, -(-len(history) // PAGE))
    page = min(max(1, page), pages)
    shown = list(reversed(history))[(page - 1) * PAGE : page * PAGE]
    chosen = _choose(history, version)
    look_up = view.look_up(source)
    return ModelPage(
        source=source,
        trainer=trainer_name(spec.model) or "",
        task=task_of(spec) or "",
        gate=describe_gate(spec.evaluate.gate),
        data_address=redact(spec.data.repository or ""),
        health=judge_health(source.problems, places, runs[0].state if runs else ""),
        places=places,
        metric=course_of(spec, history),
        cost=bill(view.spent(source.name)),
        chosen=chosen,
        lineage=_lineage(chosen, history, stages, places, view, look_up),
        candidate=_candidate(runs, history, view),
        trend=_trend(spec, name, history, places),
        walk=walk_forward(name, runs, _limits(spec, name)),
        history=[_row(each, places, look_up) for each in shown],
        columns=tuple(dict.fromkeys([name, *spec.evaluate.gate, *spec.evaluate.metrics]))[:4] if name else (),
        stages=sorted((each for one in stages.values() for each in one), key=_when, reverse=True)[:PAGE],
        released=len(history),
        page=page,
        pages=pages,
        runs=runs,
    )


def describe_gate(gate: Mapping[str, Bound]) -> list[str]:
    """Say each bound in words: ``roc_auc at least 0.7``."""
    return [
        f"{name} {rule.replace('_', ' ')} {value:g}"
        for name, bound in gate.items()
        for rule, value in bound
        if value is not None
    ]


def walk_forward(name: str, runs: Sequence[RunFacts], limits: Sequence[float] = ()) -> Chart | None:
    """Draw a metric over the as-of dates of the runs that replayed them; None where fewer than two did.

    Of several runs for one date, the newest counts.
    """
    found: dict[str, Measured] = {}
    for run in reversed(runs):  # oldest first, so that the newest stays
        estimate = (run.result("release").get("metrics") or {}).get(name)
        if run.as_of and estimate:
            value, low, high = (estimate.get(end) for end in ("value", "low", "high"))
            found[run.as_of] = Measured(run.as_of, value, low, high, link=run.id)
    return chart([found[date] for date in sorted(found)], limits) if len(found) > 1 else None


def offers_for(version: Version, places: Sequence[EnvironmentStatus]) -> tuple[Offer, ...]:
    """Say where a release could be made live: rolled back to where a later one is live, promoted elsewhere."""
    return tuple(
        Offer("rollback" if place.version and version < Version.parse(place.version) else "promote", place.environment)
        for place in places
        if place.version != f"v{version}"
    )


def _when(stage: Stage) -> tuple[float, int]:
    return (stage.date.timestamp() if stage.date else 0.0, stage.number)


def _choose(history: Sequence[Release], version: str) -> Release | None:
    newest = history[-1] if history else None
    return next((each for each in history if version in (f"v{each.version}", str(each.version))), newest)


def _lineage(
    chosen: Release | None,
    history: Sequence[Release],
    stages: Mapping[str, Sequence[Stage]],
    places: Sequence[EnvironmentStatus],
    view: RepositoryView,
    look_up: Lookup,
) -> Sequence[Column]:
    if chosen is None:
        return ()
    earlier = [each for each in history if each.version < chosen.version]
    live = [_live_node(place, stages.get(place.environment, ()), chosen.version) for place in places]
    return trace(chosen, earlier[-1] if earlier else None, view.find, look_up, live)


def _live_node(place: EnvironmentStatus, history: Sequence[Stage], version: Version) -> LineageNode:
    if place.version == f"v{version}":
        said = place.said if place.state != "live" else f"live{_since(place.since)}"
        return LineageNode(place.environment, (said, place.address), "good" if place.state == "live" else "bad")
    past = [each for each in history if each.version == version]
    if past:
        return LineageNode(place.environment, (f"was live{_since(past[-1].date)}", f"now {place.version}"), "same")
    return LineageNode(place.environment, ("never live here", f"now {place.version}" if place.version else ""), "wait")


def _since(date: datetime | None) -> str:
    return f" since {moment(date).removesuffix(' UTC')}" if date else ""


def _candidate(runs: Sequence[RunFacts], history: Sequence[Release], view: RepositoryView) -> Candidate | None:
    """Take the newest run's evaluation; where no run is known, the newest release's."""
    for run in runs:
        found = read_evaluation(view.find(run.result("evaluate").get("key") or ""))
        if found is not None:
            tag = run.result("release").get("tag", "")
            said = f"{tag} ({run.outcome})" if tag else f"a run's model, {run.outcome}"
            return Candidate(said, found, run)
    if history:
        found = read_evaluation(view.find(history[-1].evidence.artifacts.get("evaluate", "")))
        return Candidate(history[-1].tag, found, None) if found else None
    return None


def _trend(spec: Spec, name: str, history: Sequence[Release], places: Sequence[EnvironmentStatus]) -> Chart | None:
    live: dict[str, list[str]] = {}
    for place in places:
        live.setdefault(place.version, []).append(place.environment)
    series = [_measured(each, name, live) for each in history]
    return chart(series, _limits(spec, name)) if name else None


def _measured(release: Release, name: str, live: Mapping[str, Sequence[str]]) -> Measured:
    estimate = release.evidence.metrics.get(name) or {}
    version = f"v{release.version}"
    value, low, high = (estimate.get(end) for end in ("value", "low", "high"))
    return Measured(version, value, low, high, ", ".join(live.get(version, ())), version)


def _limits(spec: Spec, name: str) -> list[float]:
    bound = spec.evaluate.gate.get(name)
    return [each for each in (bound.at_least, bound.at_most) if each is not None] if bound else []


def _row(release: Release, places: Sequence[EnvironmentStatus], look_up: Lookup) -> HistoryRow:
    version = f"v{release.version}"
    live = tuple(place.environment for place in places if place.version == version)
    return HistoryRow(release, look_up(release.evidence.data_commit), live, offers_for(release.version, places))
