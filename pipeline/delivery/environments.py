"""Where a model is live: which release should be, which one answers, and whether they agree.

No spec is read: a machine's own deployments say which environments they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from pipeline.delivery.platforms.local.deployments import live_by_environment
from pipeline.delivery.releases import Version
from pipeline.delivery.stages import Stage

LiveState = Literal["live", "waiting", "differs", "down", "unknown"]
SAID: Mapping[LiveState, str] = {
    "live": "live",
    "waiting": "waiting for its first release",
    "differs": "another version answers",
    "down": "nothing answers",
    "unknown": "not asked yet",
}
_HERE = "local"  # the environment of a run without an overlay is named by its platform


class Answering(Protocol):
    """What a platform says of a release that is live."""

    @property
    def version(self) -> str:
        """Its version."""

    @property
    def address(self) -> str:
        """Where it answers."""


@dataclass(frozen=True)
class EnvironmentStatus:
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
    state: LiveState
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


def judge_status(
    name: str, wanted: Version | None, now: Answering | Literal["nothing", "unknown"], stage: Stage | None = None
) -> EnvironmentStatus:
    """Hold what is live against what should be.

    Parameters
    ----------
    wanted : Version or None
        None if nothing was ever assigned: then what is live, if anything, is what should be.
    now : Answering, or a word
        What the platform says.
    """
    version = f"v{wanted}" if wanted else ""
    if isinstance(now, str):
        silent: LiveState = "unknown" if now == "unknown" else "down"
        return EnvironmentStatus(name, silent if wanted else "waiting", version, stage=stage)
    answers = f"v{now.version.removeprefix('v')}"
    state: LiveState = "live" if version in ("", answers) else "differs"
    return EnvironmentStatus(name, state, version or answers, answers, now.address, stage)


def statuses_here(
    model: str, current: Sequence[Stage], state: Path, declared: Iterable[str] = ()
) -> list[EnvironmentStatus]:
    """Return each environment with what Git says and what this machine says of it.

    Parameters
    ----------
    current : sequence of Stage
        The newest stage of each environment.
    state : Path
        Folder of all local state.
    declared : iterable of str
        Environments that name the model.

    Returns
    -------
    list of EnvironmentStatus
        By environment; ``unknown`` where the model was never deployed on this machine.
    """
    assigned = {stage.environment: stage for stage in current}
    found = live_by_environment(model, state)
    here: dict[str, Answering | Literal["nothing"]] = {name or _HERE: now or "nothing" for name, now in found.items()}
    names = sorted({*assigned, *declared, *(name for name, now in here.items() if now != "nothing")})
    return [_status(name, assigned.get(name), here.get(name, "unknown")) for name in names]


def _status(name: str, stage: Stage | None, now: Answering | Literal["nothing", "unknown"]) -> EnvironmentStatus:
    return judge_status(name, stage.version if stage else None, now, stage)
