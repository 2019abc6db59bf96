"""Checks of ``deploy``: what a platform needs, what cannot be, and the rollout of a release."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from pipeline.errors import InputError
from pipeline.messages import examples, quote, suggest
from pipeline.spec.canary_weights import argo_weights, expect_weight, replicas_for
from pipeline.spec.checking.placing import check_pod_settings
from pipeline.spec.checking.view import View
from pipeline.spec.findings import Finding
from pipeline.spec.image_names import Reference
from pipeline.spec.quantities import amount_of
from pipeline.spec.schema.deploy import CANARY_METRICS, Autoscale, Canary, Deploy

ARGO = "argo-rollouts"
TRACKS = {"canary": 2, "shadow": 1, ARGO: 1}
"""Strategy → tracks next to what is live: a canary has a baseline; Argo Rollouts compares with what is live itself."""
_LEAST = {"errors": 0.0, "latency": 1.0, "outputs": 0.0}
"""The limit of a canary that may be no worse at all."""


def check_rollout(view: View) -> Iterator[Finding]:
    """Check how a release takes the place of another."""
    deploy = view.spec.deploy
    if deploy.strategy == "blue-green" and deploy.gateway:
        expected = "another strategy: its route knows no versions"
        yield Finding(("deploy", "strategy"), "blue-green with a gateway", expected)
    if deploy.canary is None:
        if deploy.strategy in TRACKS:
            found = f"no 'canary' with the strategy {deploy.strategy}"
            yield Finding(("deploy",), found, "it: {steps: [{weight: 20}]}", "key")
        return
    if deploy.strategy not in TRACKS:
        found = f"a canary with the strategy {deploy.strategy}"
        yield Finding(("deploy", "canary"), found, "deploy.strategy: canary, or no canary", "key")
        return
    yield from _check_argo(view, deploy, deploy.canary)
    yield from _check_metrics(deploy.canary)
    yield from _check_largest(deploy.canary, 100 // TRACKS[deploy.strategy])
    yield from _check_steps(deploy.canary)
    if view.spec.environment.platform == "kubernetes" and deploy.gateway is None:
        yield from _check_weights(deploy, deploy.canary)


def _check_metrics(canary: Canary) -> Iterator[Finding]:
    for name, limit in canary.metrics.items():
        path = ("deploy", "canary", "metrics", name)
        if name not in CANARY_METRICS:
            expected = suggest(name, CANARY_METRICS, f"a metric of a canary ({examples(CANARY_METRICS)})")
            yield Finding(path, f"the unknown metric {quote(name)}", expected, "key")
        elif limit < _LEAST[name]:
            yield Finding(path, f"{limit:g}", f"at least {_LEAST[name]:g}: {CANARY_METRICS[name]}")


def _check_weights(deploy: Deploy, canary: Canary) -> Iterator[Finding]:
    """Check that numbers of pods can be the weights."""
    if deploy.autoscale:
        found = "autoscaling with a canary whose weight is its number of pods"
        yield Finding(("deploy", "autoscale"), found, "deploy.gateway, or a fixed number of replicas", "key")
        return
    for number, step in enumerate(canary.steps):
        if deploy.strategy == ARGO:
            yield from _check_share(deploy.replicas, number, step.weight)
        elif replicas_for(step.weight, deploy.replicas, TRACKS[deploy.strategy]) is None:
            path = ("deploy", "canary", "steps", number, "weight")
            yield Finding(path, str(step.weight), expect_weight(deploy.replicas, TRACKS[deploy.strategy]))


def _check_share(replicas: int, number: int, weight: int) -> Iterator[Finding]:
    """Check that Argo Rollouts, which takes stable pods away for the candidate's, can reach a weight."""
    reachable = argo_weights(replicas)
    if weight not in reachable:
        listed = ", ".join([*map(str, reachable[:5]), *(["…"] if len(reachable) > 5 else [])])
        expected = f"what {replicas} or {replicas + 1} pods can be parted to ({listed}), or more (deploy.replicas)"
        yield Finding(("deploy", "canary", "steps", number, "weight"), str(weight), expected)


def _check_argo(view: View, deploy: Deploy, canary: Canary) -> Iterator[Finding]:
    """Check what Argo Rollouts needs, and what nothing else reads."""
    if deploy.strategy != ARGO:
        if canary.prometheus is not None:
            found = f"an address with the strategy {deploy.strategy}"
            yield Finding(("deploy", "canary", "prometheus"), found, f"deploy.strategy: {ARGO}, or none", "key")
        return
    if canary.prometheus is None:
        yield Finding(("deploy", "canary"), f"no 'prometheus' with the strategy {ARGO}", "it: http://HOST:9090", "key")
    if view.spec.environment.platform != "kubernetes":
        found = f"{ARGO} with the platform {view.spec.environment.platform}"
        yield Finding(("deploy", "strategy"), found, "canary, or the platform kubernetes")
    if deploy.gateway:
        yield Finding(("deploy", "strategy"), f"{ARGO} with a gateway", "canary, or no gateway")


def _check_largest(canary: Canary, largest: int) -> Iterator[Finding]:
    for number, step in enumerate(canary.steps):
        if step.weight > largest:
            path = ("deploy", "canary", "steps", number, "weight")
            yield Finding(path, str(step.weight), f"at most {largest}, since the baseline of a canary gets as much")


def _check_steps(canary: Canary) -> Iterator[Finding]:
    path = ("deploy", "canary", "steps")
    for number, (one, following) in enumerate(pairwise(canary.steps), 1):
        if following.weight <= one.weight:
            found = f"{following.weight} after {one.weight}"
            yield Finding((*path, number, "weight"), found, "more than in the step before")
    hold_s = sum(step.hold_s for step in canary.steps)
    if hold_s >= canary.deadline_s:
        found = f"{canary.deadline_s} s, with steps of {hold_s} s"
        yield Finding(("deploy", "canary", "deadline_s"), found, "more time than the steps take")


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
