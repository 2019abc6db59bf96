"""The platform ``local``: a supervised process on a loopback port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.delivery.platforms.differences import Difference
from pipeline.delivery.platforms.local.state import name_of
from pipeline.delivery.platforms.target import Live, Target
from pipeline.delivery.releases import Release
from pipeline.errors import DeploymentError
from pipeline.serving.client import Post, post


class Local:
    """A supervised process of this machine, on a loopback port."""

    def require_ready(self, target: Target, *, packages: bool) -> None:
        """Do nothing: what serves here is installed with Modelrail, and a port that is taken gives way to the next."""
        del target, packages

    def package(self, target: Target, release: Release, bundle: Path, *, push: bool = True) -> None:
        """Do nothing: the bundle itself is served."""
        del target, release, bundle, push

    def deploy(self, target: Target, release: Release, bundle: Path, image: str | None) -> Live:
        """Start the server, or exchange the release in the one that runs; at once, or as a canary."""
        del image
        from pipeline.delivery.platforms.local import deployments

        settings, name = target.spec.deploy, _name(target)

        def put(
            bundle: Path, beside: tuple[str, ...] = (), instead_of: deployments.Deployment | None = None
        ) -> deployments.Deployment:
            return deployments.deploy(
                bundle,
                model=name,
                port=settings.port,
                state=target.state,
                workers=settings.workers,
                beside=beside,
                instead_of=instead_of,
            )

        now = deployments.live(name, target.state) if settings.strategy == "recreate" else None
        if now and now.version.removeprefix("v") != str(release.version):
            deployments.stop(name, target.state)
            try:
                return _live(target, replace(put(bundle), replaced=now.version))
            except DeploymentError as error:
                put(Path(now.bundle))
                raise DeploymentError(f"{error}; version {now.version} is live again") from error
        if settings.canary is None or target.at_once:
            return _live(target, put(bundle))
        from pipeline.delivery.platforms.local.canary import roll_out

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
        """Return what is live, or None."""
        from pipeline.delivery.platforms.local import deployments

        found = deployments.live(_name(target), target.state)
        return _live(target, found) if found else None

    def differences(self, target: Target, release: Release, image: str | None) -> Sequence[Difference]:
        """Compare the version that answers with the one that should."""
        del image
        now, wanted = self.live(target), str(release.version)
        same = now is not None and now.version == wanted
        return () if same else (Difference(_name(target), "version", now.version if now else None, wanted),)

    def stop(self, target: Target) -> Live | None:
        """End the server; requests in flight are answered first."""
        from pipeline.delivery.platforms.local import deployments

        stopped = deployments.stop(_name(target), target.state)
        return _live(target, stopped) if stopped else None

    def post(self, target: Target) -> Post:
        """Ask over HTTP."""
        del target
        return post


def _name(target: Target) -> str:
    return name_of(target.model, target.environment)


def _live(target: Target, found: Any) -> Live:
    return Live(target.model, found.version, found.address, found.replaced, found.note)
