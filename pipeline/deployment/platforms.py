"""Where a release can be made live: one table, and what each platform in it can do.

`delivery` and the commands name no platform; they ask this table for the one that ``environment.platform`` names. So
a further platform is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from pipeline.client import Post, post
from pipeline.deployment.differences import Difference
from pipeline.deployment.state import name_of
from pipeline.errors import DeploymentError, InputError
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

    def package(self, target: Target, release: Release, bundle: Path, *, push: bool = True) -> str | None:
        """Make the image of a release: the same one each time; gives it by its digest.

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
        """Make a release live, or confirm that it is; returns when it answers.

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
        """Give what is live, or None."""

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Say what `deploy` would change of what is there."""

    def stop(self, target: Target) -> Live | None:
        """End what is live; gives what it was."""

    def post(self, target: Target) -> Post:
        """Give the way in which this process asks what is live (for `pipeline.client.predict`)."""


class Local:
    """Here: a supervised process on a loopback port."""

    def package(self, target: Target, release: Release, bundle: Path, *, push: bool = True) -> None:
        """Make nothing: the bundle itself is served."""
        del target, release, bundle, push

    def deploy(self, target: Target, release: Release, bundle: Path, image: str | None) -> Live:
        """Start the server, or exchange the release in the one that runs; at once, or as a canary."""
        del image
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

        now = local.live(name, target.state)
        if settings.strategy == "recreate" and now and now.version.removeprefix("v") != str(release.version):
            local.stop(name, target.state)
            try:
                return _live(target, replace(put(bundle), replaced=now.version))
            except DeploymentError as error:
                put(Path(now.bundle))
                raise DeploymentError(f"{error}; version {now.version} is live again") from error
        if settings.canary is None or target.at_once:
            return _live(target, put(bundle))
        from pipeline.deployment.local_canary import roll_out

        made = roll_out(
            bundle,
            str(release.version),
            settings.canary,
            model=target.model,
            name=name,
            state=target.state,
            put=put,
            track="shadow" if settings.strategy == "shadow" else "canary",
        )
        return _live(target, made)

    def live(self, target: Target) -> Live | None:
        """Give what is live, or None."""
        from pipeline.deployment import local

        found = local.live(_name(target), target.state)
        return _live(target, found) if found else None

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Hold the version that answers against the one that should."""
        del image
        now, wanted = self.live(target), str(release.version)
        same = now is not None and now.version == wanted
        return () if same else (Difference(_name(target), "version", now.version if now else None, wanted),)

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


def _kubernetes() -> Platform:
    from pipeline.deployment.kubernetes import Kubernetes

    return Kubernetes()


def _gitops() -> Platform:
    from pipeline.deployment.gitops import GitOpsKubernetes

    return GitOpsKubernetes()


def _argo() -> Platform:
    from pipeline.deployment.argo_rollouts import ArgoKubernetes

    return ArgoKubernetes()


def _server() -> Platform:
    from pipeline.deployment.server import Server

    return Server()


PLATFORMS: Mapping[str, Callable[[], Platform]] = {"local": Local, "kubernetes": _kubernetes, "server": _server}
_INSTEAD: Mapping[tuple[str, str], Callable[[], Platform]] = {
    ("kubernetes", "gitops"): _gitops,
    ("kubernetes", "argo-rollouts"): _argo,
}
"""Platform, and ``deploy.mode`` or ``deploy.strategy`` → what is used instead."""


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
    chosen = (spec.deploy.mode, spec.deploy.strategy)
    return next((_INSTEAD[name, each] for each in chosen if (name, each) in _INSTEAD), PLATFORMS[name])()
