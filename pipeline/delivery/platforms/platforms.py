"""Where a release can be made live: one table, and what each platform in it can do.

`delivery` and the commands name no platform; they ask this table for the one that ``environment.platform`` names. So
a further platform is one more entry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline.errors import InputError
from pipeline.spec.schema.spec import Spec

if TYPE_CHECKING:
    from pipeline.delivery.platforms.target import Platform


def _local() -> Platform:
    from pipeline.delivery.platforms.local.platform import Local

    return Local()


def _kubernetes() -> Platform:
    from pipeline.delivery.platforms.kubernetes.platform import Kubernetes

    return Kubernetes()


def _gitops() -> Platform:
    from pipeline.delivery.platforms.kubernetes.argo.gitops import GitOpsKubernetes

    return GitOpsKubernetes()


def _argo() -> Platform:
    from pipeline.delivery.platforms.kubernetes.argo.rollouts import ArgoKubernetes

    return ArgoKubernetes()


def _server() -> Platform:
    from pipeline.delivery.platforms.host.platform import SystemdHost

    return SystemdHost()


PLATFORMS: Mapping[str, Callable[[], Platform]] = {"local": _local, "kubernetes": _kubernetes, "server": _server}
_INSTEAD: Mapping[tuple[str, str], Callable[[], Platform]] = {
    ("kubernetes", "gitops"): _gitops,
    ("kubernetes", "argo-rollouts"): _argo,
}
"""Platform, and ``deploy.mode`` or ``deploy.strategy`` → what is used instead."""


def platform_of(spec: Spec, where: str = "environment.platform") -> Platform:
    """Find the platform that a spec names; arguments and errors are as for `maker_of`."""
    return maker_of(spec, where)()


def maker_of(spec: Spec, where: str) -> Callable[[], Platform]:
    """Return what makes the platform that a spec names; nothing of the platform is imported for it.

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
    return next((_INSTEAD[name, each] for each in chosen if (name, each) in _INSTEAD), PLATFORMS[name])
