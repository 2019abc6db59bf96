"""The page of what looks at one model have found: objectives, drift, quality, the diagnosis, what was done about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pipeline.delivery.interventions import Intervention, standing_hold
from pipeline.delivery.releases import Release
from pipeline.model.reference import Reference
from pipeline.monitoring.account import describe, outcomes
from pipeline.monitoring.counts import Counts
from pipeline.monitoring.history import KeptLook, read_looks
from pipeline.monitoring.judging import MONTH_S
from pipeline.monitoring.watching import last_window, reference_of
from pipeline.spec.schema.spec import Monitoring
from pipeline.ui.pages.archive import Archive, RepositoryView
from pipeline.ui.pages.charts import Chart, Histogram, Measured, chart, histogram
from pipeline.ui.pages.environments import Health
from pipeline.ui.pages.specs import Source

MOST_FEATURES, MOST_CHARTS = 24, 6
_TONES = {"quiet": "good", "drift": "warn", "refusals": "warn", "quality": "bad", "failures": "bad"}


@dataclass(frozen=True)
class Budget:
    """The requests of 30 days beside those that may fail, as far as looks are kept.

    Attributes
    ----------
    spent : float
        Share of the budget that is gone; more than 1 where it is overdrawn.
    """

    requests: int
    failed: int
    availability: float
    spent: float


@dataclass(frozen=True)
class Drifted:
    """One feature: its index, and how its rows are distributed, then and now."""

    name: str
    index: float
    limit: float
    drawn: Histogram


@dataclass(frozen=True)
class Course:
    """A metric over time; estimated without the truth, or known."""

    metric: str
    estimated: bool
    drawn: Chart


@dataclass(frozen=True)
class Watched:
    """What is known of the model in one environment.

    Attributes
    ----------
    looks : int
        How many are kept.
    done : sequence of str
        What was done, the newest first, in words.
    """

    environment: str
    look: KeptLook
    at: datetime
    health: Health
    held: Intervention | None
    budget: Budget | None
    rules: Monitoring
    features: Sequence[Drifted]
    courses: Sequence[Course]
    done: Sequence[str]
    looks: int


@dataclass(frozen=True)
class WatchPage:
    """All that the page shows."""

    source: Source
    watched: Sequence[Watched]


def watch_page(archive: Archive, source: Source) -> WatchPage:
    """Gather the page: an environment after the other, as far as looks at it are kept."""
    if source.spec is None:
        return WatchPage(source, ())
    view = archive.view(source)
    overlays = dict(source.environments)
    places = dict.fromkeys((source.spec.environment.platform, *overlays, *view.tags.stages(source.name)))
    found = (_watched(view, source.name, name, (overlays.get(name) or source.spec).monitoring) for name in places)
    return WatchPage(source, [each for each in found if each])


def health_of(view: RepositoryView, model: str, environments: Sequence[str]) -> list[tuple[str, Health]]:
    """Say of each environment what its last look has found; nothing where there was none."""

    def look() -> list[tuple[str, Health]]:
        found = ((name, read_looks(view.store, model, name)) for name in environments)
        return [(name, judge_look(looks[-1])) for name, looks in found if looks]

    return view.answers.ask(("looks", model), look, [])


def judge_look(look: KeptLook) -> Health:
    """Say what a look has found, in a word and a colour."""
    why = "\n".join(look.lines[:6])
    tone = _TONES.get(look.verdict, "warn")
    return Health(look.verdict, "good" if tone == "good" else "bad" if tone == "bad" else "warn", why)


def _watched(view: RepositoryView, model: str, environment: str, rules: Monitoring) -> Watched | None:
    looks = read_looks(view.store, model, environment)
    if not looks:
        return None
    last, done = looks[-1], view.tags.interventions(model).get(environment, [])
    release = next((each for each in view.tags.releases(model) if _is_of(last, each)), None)
    known = outcomes(view.store, model, environment)
    return Watched(
        environment,
        last,
        datetime.fromtimestamp(last.at, UTC),
        judge_look(last),
        standing_hold(done),
        budget_of(looks, rules.availability),
        rules,
        _features(view, release, environment, last, rules) if release else (),
        courses_of(looks, done),
        [describe(each, known.get(str(each.number), "")) for each in reversed(done)][:20],
        len(looks),
    )


def _is_of(look: KeptLook, release: Release) -> bool:
    return str(release.version) == look.version.removeprefix("v")


def budget_of(looks: Sequence[KeptLook], availability: float) -> Budget | None:
    """Add up the requests of 30 days; None if there were none."""
    recent = [each for each in looks if each.at > looks[-1].at - MONTH_S]
    requests, failed = sum(each.requests for each in recent), sum(each.failed for each in recent)
    if not requests:
        return None
    return Budget(requests, failed, availability, failed / (requests * (1 - availability)))


def _features(
    view: RepositoryView, release: Release, environment: str, look: KeptLook, rules: Monitoring
) -> Sequence[Drifted]:
    window = last_window(view.store, release.model, environment, look.version)
    reference = view.answers.ask(
        ("reference", release.tag), lambda: reference_of(release, view.store, view.state), None
    )
    return features_of(reference, window, look.indexes, rules.max_drift) if reference and window else ()


def features_of(reference: Reference, window: Counts, indexes: Mapping[str, float], limit: float) -> Sequence[Drifted]:
    """Draw each feature, the one first that moved most and whose column is the most important, as a diagnosis does."""
    ranked = [
        (index / (1 + place), each, index)
        for place, each in enumerate(reference.features)
        if (index := indexes.get(each.name)) is not None and any(window.features.get(each.name, ()))
    ]
    ranked.sort(key=lambda each: -each[0])
    drawn = []
    for _, each, index in ranked[:MOST_FEATURES]:
        counts = window.features[each.name]
        shares = [number / sum(counts) for number in counts]
        drawn.append(Drifted(each.name, index, limit, histogram(each.shares, shares)))
    return drawn


def courses_of(looks: Sequence[KeptLook], done: Sequence[Intervention]) -> Sequence[Course]:
    """Draw each metric over the looks, with the releases and what was done marked."""
    names = dict.fromkeys((str(each["metric"]), bool(each["estimated"])) for look in looks for each in look.quality)
    found = []
    for metric, estimated in list(names)[:MOST_CHARTS]:
        drawn = chart(list(_course(looks, done, metric, estimated=estimated)), height=180)
        if drawn:
            found.append(Course(metric, estimated, drawn))
    return found


def _course(
    looks: Sequence[KeptLook], done: Sequence[Intervention], metric: str, *, estimated: bool
) -> Iterator[Measured]:
    before: KeptLook | None = None
    for look in looks:
        value = next(
            (each for each in look.quality if (each["metric"], bool(each["estimated"])) == (metric, estimated)), None
        )
        if value is None:
            continue
        label = f"{datetime.fromtimestamp(look.at, UTC):%m-%d %H:%M}"
        yield Measured(label, value["value"], value["low"], value["high"], _mark(before, look, done))
        before = look


def _mark(before: KeptLook | None, look: KeptLook, done: Sequence[Intervention]) -> str:
    """Say what happened since the look before: another release went live, something was done."""
    since = before.at if before else look.at
    released = [f"v{look.version}"] if before and before.version != look.version else []
    acted = [each.deed for each in done if each.date and since <= each.date.timestamp() < look.at]
    return ", ".join([*released, *acted])
