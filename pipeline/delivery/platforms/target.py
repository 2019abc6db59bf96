"""What a platform is: where a release goes, what is live there, and what a platform can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.releases import Release
from pipeline.serving.client import Post
from pipeline.spec.schema.spec import Spec


@dataclass(frozen=True)
class Target:
    """One model's place on a platform.

    Attributes
    ----------
    spec : Spec
        As the environment's overlay makes it.
    environment : str or None
        Name of the overlay; None for the spec as it is.
    state : Path
        Folder of all local state.
    at_once : bool
        Whether a release takes its place without a canary: a rollback does.
    """

    spec: Spec
    environment: str | None
    state: Path
    at_once: bool = False

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.spec.model.name


@dataclass(frozen=True)
class Live:
    """A release that is live.

    Attributes
    ----------
    version : str
        Without a leading ``v``.
    address : str
        Where callers reach it: those on this machine, or those in the cluster.
    replaced : str or None
        The version that was live before this deployment, if it was another.
    note : str or None
        Something the user should know, such as that another port had to be taken.
    image : str or None
        The image that runs, by its digest, where the platform runs images.
    """

    model: str
    version: str
    address: str
    replaced: str | None = None
    note: str | None = None
    image: str | None = None


class Platform(Protocol):
    """What a platform can do with releases; each method may be called again at any time."""

    def require_ready(self, target: Target, *, packages: bool) -> None:
        """Ask for all that making a release live will need, before there is one; nothing is changed.

        Parameters
        ----------
        packages : bool
            Whether an image will be made, so that a registry is needed too.

        Raises
        ------
        InputError, DeploymentError
            If anything is missing, with all that is.
        TransientError
            If the platform does not answer, and nothing else is missing.
        """

    def package(self, target: Target, release: Release, bundle: Path, *, push: bool = True) -> str | None:
        """Make the image of a release, the same one each time; return its name with its digest.

        Parameters
        ----------
        bundle : Path
            Folder of the release.
        push : bool
            Without it, only say which image it would be.

        Returns
        -------
        str or None
            None where the platform runs no images.
        """

    def deploy(self, target: Target, release: Release, bundle: Path, image: str | None) -> Live:
        """Make a release live, or confirm that it is; return once it answers.

        Parameters
        ----------
        bundle : Path
            Folder of the release.
        image : str or None
            What `package` gave, now or when the release was live before.

        Raises
        ------
        DeploymentError
            If it cannot be made live; what was live stays live.
        """

    def live(self, target: Target) -> Live | None:
        """Return what is live, or None."""

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Say what `deploy` would change of what is there."""

    def stop(self, target: Target) -> Live | None:
        """End what is live; return what it was."""

    def post(self, target: Target) -> Post:
        """Return the function through which this process asks what is live (for `pipeline.serving.client.predict`)."""
