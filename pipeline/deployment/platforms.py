"""Where a release can be made live: one table, and what each platform in it can do.

`delivery` and the commands name no platform; they ask this table for the one that ``environment.platform`` names. So
a further platform is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.client import Post, post
from pipeline.deployment.state import name_of
from pipeline.errors import InputError
from pipeline.release import Release
from pipeline.spec.schema import Spec


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
    """

    model: str
    version: str
    address: str
    replaced: str | None = None
    note: str | None = None


class Platform(Protocol):
    """What a platform can do with releases; each method may be called again at any time."""

    def deploy(self, target: Target, release: Release, bundle: Path) -> Live:
        """Make a release live, or confirm that it is; returns when it answers.

        Parameters
        ----------
        bundle : Path
            Folder of the release.

        Raises
        ------
        DeploymentError
            If it cannot be made live; what was live stays live.
        """

    def live(self, target: Target) -> Live | None:
        """Give what is live, or None."""

    def stop(self, target: Target) -> Live | None:
        """End what is live; gives what it was."""

    def post(self, target: Target) -> Post:
        """Give the way in which this process asks what is live (for `pipeline.client.predict`)."""


class Local:
    """Here: a supervised process on a loopback port."""

    def deploy(self, target: Target, release: Release, bundle: Path) -> Live:
        """Start the server, or exchange the release in the one that runs; at once, or as a canary."""
        from pipeline.deployment import local

        settings, name = target.spec.deploy, _name(target)

        def put(
            bundle: Path, beside: tuple[str, ...] = (), instead_of: local.Deployment | None = None
        ) -> local.Deployment:
            return local.deploy(
                bundle,
                model=name,
                port=settings.port,
                state=target.state,
                workers=settings.workers,
                beside=beside,
                instead_of=instead_of,
            )

        if settings.canary is None or target.at_once:
            return _live(target, put(bundle))
        from pipeline.deployment.local_canary import roll_out

        made = roll_out(
            bundle, str(release.version), settings.canary, model=target.model, name=name, state=target.state, put=put
        )
        return _live(target, made)

    def live(self, target: Target) -> Live | None:
        """Give what is live, or None."""
        from pipeline.deployment import local

        found = local.live(_name(target), target.state)
        return _live(target, found) if found else None

    def stop(self, target: Target) -> Live | None:
        """End the server; requests in flight are answered first."""
        from pipeline.deployment import local

        stopped = local.stop(_name(target), target.state)
        return _live(target, stopped) if stopped else None

    def post(self, target: Target) -> Post:
        """Ask over HTTP."""
        del target
        return post


def _name(target: Target) -> str:
    return name_of(target.model, target.environment)


def _live(target: Target, found: Any) -> Live:
    return Live(target.model, found.version, found.address, found.replaced, found.note)


PLATFORMS: Mapping[str, Callable[[], Platform]] = {"local": Local}


def platform_of(spec: Spec, where: str = "environment.platform") -> Platform:
    """Give the platform that a spec names.

    Parameters
    ----------
    where : str
        What the message of the error begins with.

    Raises
    ------
    InputError
        If nothing can be deployed there yet.
    """
    name = spec.environment.platform
    if name not in PLATFORMS:
        raise InputError(
            f"{where}: found '{name}', which 'check' and 'plan' know but no run can deploy to yet; expected"
            f" {' or '.join(PLATFORMS)}"
        )
    return PLATFORMS[name]()
