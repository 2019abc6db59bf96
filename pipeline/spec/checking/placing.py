"""Checks of ``run``: what pods need, and what only one process can have."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.messages import join, quote
from pipeline.spec.checking.view import View
from pipeline.spec.findings import Finding
from pipeline.spec.placement import DEPLOYING, groups, has_worker_pods, placement, pod_steps
from pipeline.spec.schema.run import StepName
from pipeline.spec.schema.spec import Spec

_URL = re.compile(r"[a-z+]+://|[^/]+@[^/]+:")
_WITH_PASSWORD = re.compile(r"[a-z+]+://[^/@]*:[^/@]*@|https?://[^/@]+@")
_JUDGING: tuple[StepName, ...] = ("evaluate", "release", *DEPLOYING)


def check_run(view: View) -> Iterator[Finding]:
    """Check that pods can do what they are to do."""
    spec = view.spec
    pods = pod_steps(spec.run)
    yield from _check_fused(spec, pods)
    yield from _check_workers(spec, pods)
    if pods:
        yield from _check_pods(spec, pods)


def _check_fused(spec: Spec, pods: list[StepName]) -> Iterator[Finding]:
    alone = [group[0] for group in groups(spec.run) if len(group) == 1]
    for position, step in enumerate(spec.run.fuse):
        path = ("run", "fuse", position)
        if step in spec.run.fuse[:position]:
            yield Finding(path, f"'{step}' a second time", "each step once")
        elif step not in pods:
            yield Finding(path, f"'{step}', which runs in a process", f"a step that runs in a pod (run.{step}: pod)")
        elif step in alone:
            yield Finding(
                path, f"'{step}' without a neighbour", "the step before or after it as well, to share its pod"
            )


def _check_workers(spec: Spec, pods: list[StepName]) -> Iterator[Finding]:
    if spec.run.workers.gpu is not None:
        yield Finding(("run", "workers", "gpu"), "a GPU for workers, which learn on the CPU", "none", "key")
    if not has_worker_pods(spec):
        return
    if "train" not in pods:
        found = "pods for the workers of a step that runs in a process"
        yield Finding(("run", "workers"), found, "a pod for the step, which starts them (run.train: pod)")
    elif spec.run.trainer is None:
        expected = "one that may start pods ('modelrail manifests MODEL --access' prints it)"
        yield Finding(("run", "trainer"), "no account for the pod that starts the workers' pods", expected, "key")


def _check_pods(spec: Spec, pods: list[StepName]) -> Iterator[Finding]:
    run, repository = spec.run, spec.data.repository
    if run.image is None:
        expected = "the image that 'modelrail images build pipeline' makes, by tag or digest"
        yield Finding(("run", "image"), f"none for the pods of {join(pods, 'and')}", expected, "key")
    if repository is not None and not _URL.match(repository):
        expected = "a URL, since pods clone it (an environment can name it)"
        yield Finding(("data", "repository"), f"the path {quote(repository)} with steps in pods", expected)
    if run.repository is not None and not _URL.match(run.repository):
        yield Finding(("run", "repository"), f"the path {quote(run.repository)}", "a URL, since pods clone it")
    for section, address in (("run", run.repository), ("data", repository)):
        if _WITH_PASSWORD.match(address or ""):
            expected = "the address alone: a secret of the cluster has them (run.secrets)"
            yield Finding((section, "repository"), "credentials in an address that pods are told", expected)
    if (judging := [step for step in _JUDGING if step in pods]) and not spec.deploy.push_tags:
        expected = "true: pods know only the releases that are pushed"
        yield Finding(("deploy", "push_tags"), f"false with {join(judging, 'and')} in pods", expected)
    for step in DEPLOYING:
        if placement(run, step).where == "pod" and spec.environment.platform == "local":
            expected = f"run.{step}: process, or another platform (environment.platform)"
            yield Finding(("run", step), "a pod for the platform 'local', which is Airflow's machine", expected)
    if spec.environment.platform == "kubernetes":
        yield from _check_deploying(spec, [step for step in DEPLOYING if step in pods])


def _check_deploying(spec: Spec, pods: list[StepName]) -> Iterator[Finding]:
    """Check that pods reach the cluster that they deploy to: they know no other than the one that they run in."""
    if pods and spec.run.deployer is None:
        expected = "the account that 'modelrail manifests MODEL --access' prints (modelrail-deployer)"
        yield Finding(("run", "deployer"), f"none for the pods of {join(pods, 'and')}", expected, "key")
    if pods and spec.deploy.context is not None:
        expected = "nothing: pods have no kubeconfig, and deploy to the cluster that they run in"
        found = f"the context {quote(spec.deploy.context)} with {join(pods, 'and')} in pods"
        yield Finding(("deploy", "context"), found, expected)
