"""Where a model is live: what Git says should be, what answers, and whether they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pipeline.deployment.platforms import PLATFORMS, Live, Target, platform_of
from pipeline.pages.archive import Shelf
from pipeline.pages.sources import Source
from pipeline.release import Version
from pipeline.spec.schema import Spec
from pipeline.stages import Stage

PlaceState = Literal["live", "waiting", "differs", "down", "unknown"]
SAID: Mapping[PlaceState, str] = {
    "live": "live",
    "waiting": "waiting for its first release",
    "differs": "another version answers",
    "down": "nothing answers",
    "unknown": "not asked yet",
}


@dataclass(frozen=True)
class Place:
    """A model in one environment.

    Attributes
    ----------
    version : str
        What should be live, such as ``v1.2.0``; empty while nothing was deployed.
    answers : str
        What is live in truth; empty if nothing is.
    stage : Stage or None
        The fact in Git behind `version`.
    """

    environment: str
    state: PlaceState
    version: str = ""
    answers: str = ""
    address: str = ""
    stage: Stage | None = None

    @property
    def said(self) -> str:
        """The state in words."""
        return f"{SAID[self.state]}: {self.answers}" if self.state == "differs" else SAID[self.state]

    @property
    def since(self) -> datetime | None:
        """When it was assigned."""
        return self.stage.date if self.stage else None


@dataclass(frozen=True)
class Health:
    """How a model does, in a word and a tone."""

    word: str
    tone: Literal["good", "warn", "bad", "none"]
    why: str = ""


def find_places(source: Source, shelf: Shelf) -> list[Place]:
    """Give the model's environments: those where it was ever live, and the one that its spec names."""
    assert source.spec is not None  # noqa: S101 - a broken spec has no environments
    history = shelf.ledger.stages(source.name)
    overlays = dict(source.environments)
    own = source.spec.environment.platform
    return [
        _place(name, overlays.get(name), source.spec, history.get(name, []), shelf)
        for name in dict.fromkeys((own, *history))
    ]


def _place(name: str, overlay: Spec | None, spec: Spec, history: Sequence[Stage], shelf: Shelf) -> Place:
    stage = history[-1] if history else None
    now = _ask(Target(overlay or spec, name if overlay else None, shelf.state), shelf)
    return judge_place(name, stage.version if stage else None, now, stage)


def _ask(target: Target, shelf: Shelf) -> Live | Literal["nothing", "unknown"]:
    if target.spec.environment.platform not in PLATFORMS:
        return "unknown"

    def look() -> Live | Literal["nothing"]:
        return platform_of(target.spec).live(target) or "nothing"

    return shelf.lately.ask(("live", target.model, target.environment), look, "unknown")


def judge_place(
    name: str, wanted: Version | None, now: Live | Literal["nothing", "unknown"], stage: Stage | None = None
) -> Place:
    """Hold what is live against what should be.

    Parameters
    ----------
    wanted : Version or None
        None if nothing was ever assigned: then what is live, if anything, is what should be.
    now : Live, or a word
        What the platform says.
    """
    version = f"v{wanted}" if wanted else ""
    if now == "unknown":
        return Place(name, "unknown" if wanted else "waiting", version, stage=stage)
    if now == "nothing":
        return Place(name, "down" if wanted else "waiting", version, stage=stage)
    assert isinstance(now, Live)  # noqa: S101 - the two words are dealt with
    answers = f"v{now.version.removeprefix('v')}"
    state: PlaceState = "live" if version in ("", answers) else "differs"
    return Place(name, state, version or answers, answers, now.address, stage)


def judge_health(problems: Sequence[str], places: Sequence[Place], last_run: str) -> Health:
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
