"""The page of all models: what is live where, and how healthy it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.answers import asking_once
from pipeline.delivery.environments import EnvironmentStatus
from pipeline.delivery.releases import Release
from pipeline.errors import ModelrailError
from pipeline.operations.provenance.commits import DataCommit
from pipeline.spec.catalogue.trainers import trainer_name
from pipeline.spec.schema.spec import Spec
from pipeline.ui.pages.archive import Archive, RepositoryView
from pipeline.ui.pages.charts import Spark, spark
from pipeline.ui.pages.costs import Bill, bill
from pipeline.ui.pages.environments import Health, find_statuses, judge_health
from pipeline.ui.pages.runs import RunFacts
from pipeline.ui.pages.specs import Source
from pipeline.ui.pages.watch import health_of

PAGE = 50
"""Models on one page."""
COST_DAYS = 30


@dataclass(frozen=True)
class Metric:
    """The metric that the gate judges first, and its course over the releases."""

    name: str
    value: float | None
    course: Spark | None


@dataclass(frozen=True)
class Row:
    """One model."""

    source: Source
    trainer: str
    health: Health
    places: Sequence[EnvironmentStatus] = ()
    released: int = 0
    data: DataCommit | None = None
    metric: Metric | None = None
    cost: Bill | None = None
    last_run: RunFacts | None = None
    watched: Sequence[tuple[str, Health]] = ()


@dataclass(frozen=True)
class FleetPage:
    """The models, or those of one page."""

    rows: Sequence[Row]
    total: int
    page: int
    pages: int
    query: str
    folder: str
    cost_days: int = COST_DAYS


def fleet_page(
    archive: Archive,
    may_see: Callable[[str], bool],
    last_runs: Callable[[Sequence[str]], Mapping[str, RunFacts]],
    *,
    query: str = "",
    page: int = 1,
) -> FleetPage:
    """Gather the page.

    Parameters
    ----------
    may_see : callable
        Whether the user may read the DAG of that name.
    last_runs : callable
        Names of models → the last run of each.
    """
    wanted = [each for each in archive.sources.all() if query.casefold() in each.name.casefold() and may_see(each.name)]
    pages = max(1, -(-len(wanted) // PAGE))
    page = min(max(1, page), pages)
    shown = wanted[(page - 1) * PAGE : page * PAGE]
    runs = last_runs([each.name for each in shown])
    with asking_once():
        rows = [_row(archive, each, runs.get(each.name)) for each in shown]
    return FleetPage(rows, len(wanted), page, pages, query, str(archive.sources.models))


def _row(archive: Archive, source: Source, run: RunFacts | None) -> Row:
    if source.spec is None:
        return Row(source, "", judge_health(source.problems, (), ""), last_run=run)
    try:
        return _known_row(archive.view(source), source, source.spec, run)
    except ModelrailError as error:
        return Row(source, trainer_name(source.spec.model) or "", Health("unreadable", "bad", str(error)), last_run=run)


def _known_row(view: RepositoryView, source: Source, spec: Spec, run: RunFacts | None) -> Row:
    history = view.tags.releases(source.name)
    places = find_statuses(source, view)
    since = (datetime.now(UTC) - timedelta(days=COST_DAYS)).isoformat()
    return Row(
        source=source,
        trainer=trainer_name(spec.model) or "",
        health=judge_health(source.problems, places, run.state if run else ""),
        places=places,
        released=len(history),
        data=view.look_up(source)(history[-1].evidence.data_commit) if history else None,
        metric=course_of(spec, history),
        cost=bill([each for each in view.spent(source.name) if each.started >= since]),
        last_run=run,
        watched=health_of(view, source.name, [each.environment for each in places]),
    )


def headline_metric(spec: Spec) -> str:
    """Name the metric that stands for the model: the first of its gate, else the first that it computes."""
    return next(iter([*spec.evaluate.gate, *spec.evaluate.metrics]), "")


def course_of(spec: Spec, history: Sequence[Release]) -> Metric | None:
    """Read the headline metric of each release, in order; None if no release has it."""
    name = headline_metric(spec)
    values = [(each.evidence.metrics.get(name) or {}).get("value") for each in history]
    return Metric(name, values[-1], spark(values)) if name and values else None
