"""Checks of ``deploy``: what a platform needs, and what cannot be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.errors import InputError
from pipeline.messages import quote
from pipeline.spec.checking.pod_settings import check_pod_settings
from pipeline.spec.checking.view import View
from pipeline.spec.findings import Finding
from pipeline.spec.image_names import Reference
from pipeline.spec.quantities import amount_of
from pipeline.spec.schema.deploy import Autoscale, Deploy

_LONGEST_NAME = 40
_HIDDEN = ("/home/", "/root/", "/tmp/", "/var/tmp/", "/run/user/")  # noqa: S108  # named, not used
"""What the units of the platform ``server`` hide from it: ``ProtectHome`` and ``PrivateTmp``."""


def check_deploy(view: View) -> Iterator[Finding]:
    """Check how a release is served."""
    deploy = view.spec.deploy
    if view.spec.environment.platform == "kubernetes":
        yield from _check_cluster(deploy, view.spec.model.name)
    if view.spec.environment.platform == "server":
        yield from _check_server(deploy)
    if deploy.mode == "gitops":
        yield from _check_gitops(deploy, view.spec.environment.platform)
    yield from check_pod_settings(deploy, view.spec.environment.platform)
    yield from _check_images(deploy)
    yield from _check_resources(deploy)
    if deploy.autoscale:
        yield from _check_autoscale(deploy, deploy.autoscale)


def _check_cluster(deploy: Deploy, model: str) -> Iterator[Finding]:
    if deploy.image is None:
        yield Finding(
            ("deploy",), "no 'image' with the platform kubernetes", "it: {base: HOST/NAME:TAG, repository: HOST/NAME}"
        )
    if deploy.port < 1024:
        yield Finding(
            ("deploy", "port"), f"{deploy.port} with the platform kubernetes", "a port from 1024 on, such as 8080"
        )
    if len(model) > _LONGEST_NAME:
        yield Finding(
            ("model", "name"), f"{len(model)} characters with the platform kubernetes", f"at most {_LONGEST_NAME}"
        )


def _check_server(deploy: Deploy) -> Iterator[Finding]:
    if deploy.port == 0:
        yield Finding(("deploy", "port"), "0 with the platform server", "a port from 1 on, such as 8080")
    if deploy.strategy not in {"rolling", "recreate"}:
        yield Finding(("deploy", "strategy"), f"{deploy.strategy} with the platform server", "rolling or recreate")
    if deploy.server is None:
        yield Finding(("deploy",), "no 'server' with the platform server", "it: {host: USER@HOST}")
    elif deploy.server.units == "user":
        for key in ("sudo", "user"):
            if getattr(deploy.server, key):
                path = ("deploy", "server", key)
                yield Finding(path, f"'{key}' with units: user", "units: system, or no such key", "key")
    elif deploy.server.folder.startswith(_HIDDEN):
        found = f"{quote(deploy.server.folder)}, which a system's unit does not see"
        yield Finding(("deploy", "server", "folder"), found, "a folder elsewhere, such as /srv/modelrail")


def _check_gitops(deploy: Deploy, platform: str) -> Iterator[Finding]:
    if platform != "kubernetes":
        yield Finding(("deploy", "mode"), f"gitops with the platform {platform}", "apply, or the platform kubernetes")
    if deploy.gitops is None:
        yield Finding(("deploy", "mode"), "gitops without deploy.gitops", "{repository: URL} there")
    elif deploy.gitops.review_branch == deploy.gitops.branch:
        yield Finding(("deploy", "gitops", "review_branch"), "the branch that Argo CD follows", "another one, or none")
    if deploy.strategy not in {"rolling", "recreate"}:
        yield Finding(("deploy", "strategy"), f"{deploy.strategy} with the mode gitops", "rolling or recreate")


def _check_images(deploy: Deploy) -> Iterator[Finding]:
    if deploy.image is None:
        return
    for key in ("base", "repository"):
        path, text = ("deploy", "image", key), getattr(deploy.image, key)
        try:
            reference = Reference.parse(text)
        except InputError:
            yield Finding(path, quote(text), "an image's name: HOST/NAME" + (":TAG" if key == "base" else ""))
            continue
        if key == "repository" and (reference.tag or reference.digest):
            yield Finding(path, f"{quote(text)} with a tag or digest", "a name without: each release has its own")


def _check_resources(deploy: Deploy) -> Iterator[Finding]:
    for name in ("cpu", "memory"):
        asked, most = getattr(deploy.resources.requests, name), getattr(deploy.resources.limits, name)
        if asked and most and amount_of(asked) > amount_of(most):
            path = ("deploy", "resources", "requests", name)
            yield Finding(path, f"{asked} with a limit of {most}", "at most the limit (deploy.resources.limits)")


def _check_autoscale(deploy: Deploy, autoscale: Autoscale) -> Iterator[Finding]:
    path = ("deploy", "autoscale")
    if autoscale.max_replicas < autoscale.min_replicas:
        found = f"max_replicas {autoscale.max_replicas} with min_replicas {autoscale.min_replicas}"
        yield Finding(path, found, "max_replicas from min_replicas on")
    if autoscale.cpu is None and autoscale.memory is None and not autoscale.metrics:
        yield Finding(path, "nothing to scale by", "at least one of cpu, memory, metrics")
    for name in ("cpu", "memory"):
        if getattr(autoscale, name) is not None and getattr(deploy.resources.requests, name) is None:
            yield Finding((*path, name), "a share of a request that is not there", f"deploy.resources.requests.{name}")
    for name in autoscale.metrics:
        if not re.fullmatch(r"[a-zA-Z_:][\w:.-]*", name):
            yield Finding((*path, "metrics", name), quote(name), "the name of a metric", at="key")
