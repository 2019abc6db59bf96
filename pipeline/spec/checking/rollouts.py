"""Checks of ``deploy.strategy`` and ``deploy.canary``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from pipeline.messages import examples, quote, suggest
from pipeline.spec.canary_weights import expect_weight, replicas_for
from pipeline.spec.checking.view import View
from pipeline.spec.findings import Finding
from pipeline.spec.schema.deploy import CANARY_METRICS, Canary, Deploy

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
    reachable = [round(100 * count / replicas) for count in range(1, replicas)]
    if weight not in reachable:
        listed = ", ".join(map(str, reachable[:5])) or "none"
        expected = f"a part of {replicas} pods ({listed}), or another number of them (deploy.replicas)"
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
