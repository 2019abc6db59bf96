"""What differs between two environments: the resolved specs, key by key, and which release each should have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.delivery.environments import EnvironmentStatus, statuses_here
from pipeline.delivery.promotion import find_slot
from pipeline.delivery.stages import current_stages
from pipeline.spec.comparing import Change, compare
from pipeline.spec.loading.declared_environments import find_declared
from pipeline.storage.git.repository import Repository


@dataclass(frozen=True)
class EnvironmentDifference:
    """One model in two environments.

    Attributes
    ----------
    changes : tuple of Change
        By key of the spec, each environment laid over it.
    live : tuple of EnvironmentStatus or None
        What should be live in each, and what answers on this machine; None where nothing ever was.
    """

    model: str
    before: str
    after: str
    changes: tuple[Change, ...]
    live: tuple[EnvironmentStatus | None, EnvironmentStatus | None]

    def to_json(self) -> dict[str, Any]:
        """Write a document for programs."""
        live = {name: _describe(place) for name, place in zip((self.before, self.after), self.live, strict=True)}
        return {
            "model": self.model,
            "before": self.before,
            "after": self.after,
            "changes": [asdict(each) for each in self.changes],
            "live": live,
        }


def compare_environments(repository: Repository, model: str, before: str, after: str) -> EnvironmentDifference:
    """Compare a model's two environments, as the work tree has them.

    Parameters
    ----------
    before, after : str
        Names of overlays; the platform of the spec as it is (``local``) stands for the spec without one.

    Raises
    ------
    InputError
        If there is no such model or environment.
    SpecError
        If the spec is not valid in one of them.
    """
    places = [find_slot(repository, model, name) for name in (before, after)]
    here = {place.environment: place for place in _places(repository, model, places[0].target.state)}
    one, other = (place.spec.model_dump(mode="json") for place in places)
    return EnvironmentDifference(model, before, after, tuple(compare(one, other)), (here.get(before), here.get(after)))


def _places(repository: Repository, model: str, state: Any) -> Iterable[EnvironmentStatus]:
    declared = find_declared(repository.root / "models" / "any.yaml", model)
    return statuses_here(model, current_stages(repository, model), state, declared)


def _describe(place: EnvironmentStatus | None) -> dict[str, Any] | None:
    if place is None:
        return None
    stage = place.stage
    return {
        "release": stage.release if stage else None,
        "stage": stage.tag if stage else None,
        "since": place.since,
        "by": stage.who if stage else None,
        "state": place.state,
        "answers": place.answers.removeprefix("v") or None,
        "address": place.address or None,
    }
