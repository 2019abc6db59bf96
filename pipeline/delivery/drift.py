"""Drift: where an environment differs from what Git says, and how that is mended.

Git says which release, with which image, should be live (`stages`); the spec says how. What somebody changed by hand is
found by asking the platform what deploying would change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.delivery.bundles import bundle_of
from pipeline.delivery.deploying import DeploymentResult, Slot, go_live
from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.platforms.platforms import platform_of
from pipeline.delivery.platforms.target import Live
from pipeline.delivery.promotion import find_slot
from pipeline.delivery.releases import Release, find_release
from pipeline.delivery.stages import places_assigned
from pipeline.errors import InputError, ModelrailError
from pipeline.home import store_address
from pipeline.spec.loading.names import find_every_spec
from pipeline.storage.artifacts import Store, open_store
from pipeline.storage.git.repository import Repository

_HERE = "local"
"""The environment that this machine answers for."""


@dataclass(frozen=True)
class Observation:
    """What a platform says of the release that should be live on it, as Git has it.

    Attributes
    ----------
    release : str
        What should be live, such as ``flight-delay@v1.2.3``.
    differences : sequence of Difference
        What the next deploy would change.
    trouble : str
        Why the platform could not be asked; empty if it could.
    """

    model: str
    environment: str
    release: str
    live: Live | None = None
    differences: Sequence[Difference] = ()
    trouble: str = ""


def observe(repository: Repository) -> list[Observation]:
    """Look at every environment that Git knows, but this machine's own."""
    places = [each for each in places_assigned(repository) if each[1] != _HERE]
    specs = find_every_spec(repository.root) if places else {}
    return [_observe(repository, model, environment, specs) for model, environment in places]


def _observe(repository: Repository, model: str, environment: str, specs: Mapping[str, Path]) -> Observation:
    release = ""
    try:
        slot = find_slot(repository, model, environment, specs)
        release = find_due(slot)[0].tag
        live, differences = platform_of(slot.spec).live(slot.target), compare(slot)
    except ModelrailError as error:  # one cluster that is away does not hide the others
        return Observation(model, environment, release, trouble=str(error))
    return Observation(model, environment, release, live, differences)


def find_due(slot: Slot, version: str | None = None, *, offline: bool = False) -> tuple[Release, str | None]:
    """Return the release that should be live, or a version of choice, and the image that it has or would have.

    Parameters
    ----------
    offline : bool
        Ask no registry: an image that Git does not name is None.

    Raises
    ------
    InputError
        If nothing was ever live there, and no version is given.
    """
    history = slot.history()
    wanted = version or (f"v{history[-1].version}" if history else None)
    if wanted is None:
        raise InputError(
            f"found no release of {slot.model} in {slot.environment}; expected one: 'modelrail promote"
            f" {slot.model}@VERSION --environment {slot.environment} --why …', or a version"
        )
    release = find_release(slot.repository, f"{slot.model}@{wanted}")
    return release, slot.image(release.version) or (None if offline else _image_to_be(slot, release))


def compare(slot: Slot) -> Sequence[Difference]:
    """Say what deploying what Git says should be live would change there."""
    release, image = find_due(slot)
    return platform_of(slot.spec).differences(slot.target, release, image)


def uphold(slot: Slot) -> DeploymentResult:
    """Make live again what Git says should be; what others have changed is undone."""
    release, _ = find_due(slot)
    return go_live(slot, release, "deploy", _store(slot), why="as Git says")


def _image_to_be(slot: Slot, release: Release) -> str | None:
    bundle = bundle_of(release, _store(slot), slot.target.state)
    return platform_of(slot.spec).package(slot.target, release, bundle, push=False)


def _store(slot: Slot) -> Store:
    return open_store(store_address(slot.target.state), slot.target.state)
