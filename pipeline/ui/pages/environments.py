"""Where a model is live, as every platform says, and how healthy it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.delivery.environments import EnvironmentStatus, judge_status
from pipeline.delivery.platforms.platforms import PLATFORMS, platform_of
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.stages import Stage
from pipeline.spec.schema.spec import Spec
from pipeline.ui.pages.archive import RepositoryView
from pipeline.ui.pages.specs import Source


@dataclass(frozen=True)
class Health:
    """How healthy a model is, in a word and a colour."""

    word: str
    tone: Literal["good", "warn", "bad", "none"]
    why: str = ""


def find_statuses(source: Source, view: RepositoryView) -> list[EnvironmentStatus]:
    """Return the model's environments: where it was ever live, the one that its spec names, those that name it."""
    assert source.spec is not None  # noqa: S101 - a broken spec has no environments
    history = view.tags.stages(source.name)
    overlays = dict(source.environments)
    own = source.spec.environment.platform
    declared = [name for name, spec in overlays.items() if source.name in spec.environment.models]
    return [
        _status(name, overlays.get(name), source.spec, history.get(name, []), view)
        for name in dict.fromkeys((own, *history, *declared))
    ]


def _status(
    name: str, overlay: Spec | None, spec: Spec, history: Sequence[Stage], view: RepositoryView
) -> EnvironmentStatus:
    stage = history[-1] if history else None
    now = _ask(Target(overlay or spec, name if overlay else None, view.state), view)
    return judge_status(name, stage.version if stage else None, now, stage)


def _ask(target: Target, view: RepositoryView) -> Live | Literal["nothing", "unknown"]:
    if target.spec.environment.platform not in PLATFORMS:
        return "unknown"

    def look() -> Live | Literal["nothing"]:
        return platform_of(target.spec).live(target) or "nothing"

    return view.answers.ask(("live", target.model, target.environment), look, "unknown")


def judge_health(problems: Sequence[str], places: Sequence[EnvironmentStatus], last_run: str) -> Health:
    """Say how a model does; the first of several troubles counts.

    Parameters
    ----------
    last_run : str
        Outcome of the last run that ended; empty if none did.
    """
    if problems:
        return Health("broken spec", "bad", problems[0])
    troubles = [place for place in places if place.state in ("down", "differs")]
    if troubles:
        place = troubles[0]
        return Health(place.said.partition(":")[0], "bad", f"{place.environment}: {place.said}")
    if last_run == "failed":
        return Health("last run failed", "warn", "the last run of its DAG failed")
    if any(place.state == "live" for place in places):
        return Health("healthy", "good", "what should be live answers")
    if any(place.version for place in places):
        return Health("not asked yet", "none", "its platform has not answered yet")
    return Health("waiting", "none", "no release yet")
