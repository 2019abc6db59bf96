"""Checks of where and when a model runs: ``run``, ``schedule``, and the settings of pods that serve it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipeline.errors import InputError
from pipeline.messages import join, quote, suggest
from pipeline.spec.checking.view import View
from pipeline.spec.cron import cron_problem
from pipeline.spec.findings import Finding
from pipeline.spec.placement import DEPLOYING, groups, has_worker_pods, placement, pod_steps
from pipeline.spec.schema.deploy import Deploy
from pipeline.spec.schema.run import StepName
from pipeline.spec.schema.spec import Spec

FOLDER = "/settings"
"""Where the server sees the files of the Secret."""
_CAPTURES = "capture_"


def check_pod_settings(deploy: Deploy, platform: str) -> Iterator[Finding]:
    """Check that the server takes the settings, and finds the files that they name."""
    if platform != "kubernetes":
        for key in ("settings", "secret", "capture"):
            if getattr(deploy, key):
                expected = "the server's own environment variables there, or the platform kubernetes"
                yield Finding(("deploy", key), f"'{key}' with the platform {platform}", expected, "key")
        return
    known = _known()
    for name, value in deploy.settings.items():
        path = ("deploy", "settings", name)
        if name not in known:
            expected = suggest(name, known, "one of docs/serving.md, in small letters")
            yield Finding(path, f"the unknown setting {quote(name)}", expected, "key")
        elif name.startswith(_CAPTURES):
            expected = "deploy.capture, which lets the server reach the object store (the salt: its secret)"
            yield Finding(path, f"the setting {quote(name)}", expected, "key")
        elif name == "otlp_endpoint":
            expected = "none such: the model's NetworkPolicy lets its server reach nothing"
            yield Finding(path, f"the setting {quote(name)}", expected, "key")
        elif name.endswith("_file") and not (deploy.secret and str(value).startswith(f"{FOLDER}/")):
            expected = f"{FOLDER}/ and the name of a file of the Secret that deploy.secret names"
            yield Finding(path, quote(str(value)), expected)
    yield from _check_values(deploy, known)
    if deploy.capture and "hash" in deploy.capture.private.values() and deploy.capture.secret is None:
        expected = "a Secret with the salt (MODELRAIL_SERVE_CAPTURE_SALT): without it each pod has one of its own"
        yield Finding(("deploy", "capture", "secret"), "none, and columns that are hashed", expected, "key")
    if deploy.gateway and "tls_certificate_file" in deploy.settings:
        path = ("deploy", "settings", "tls_certificate_file")
        yield Finding(path, "a certificate with a gateway", "one at the gateway, which asks the pods over HTTP", "key")


def _known() -> frozenset[str]:
    from dataclasses import fields

    from pipeline.serving.settings import Settings

    return frozenset(field.name for field in fields(Settings))


def _check_values(deploy: Deploy, known: frozenset[str]) -> Iterator[Finding]:
    """Let the server's own reader say what it does not take."""
    from pipeline.serving.settings import PREFIX, settings_from

    given = {PREFIX + name.upper(): str(value) for name, value in deploy.settings.items() if name in known}
    try:
        settings_from(given)
    except InputError as error:
        for fault in re.finditer(PREFIX + r"(\w+): found (.*); expected (.*)", str(error)):
            expected = re.sub(PREFIX + r"(\w+)", lambda found: found[1].lower(), fault[3])
            yield Finding(("deploy", "settings", fault[1].lower()), fault[2], expected)


_WITH_PASSWORD = re.compile(r"[a-z+]+://[^/@]*:[^/@]*@|https?://[^/@]+@")


def check_schedule(view: View) -> Iterator[Finding]:
    """Check when the DAG runs."""
    schedule, data = view.spec.schedule, view.spec.data
    problem = None if schedule.cron is None else cron_problem(schedule.cron)
    if problem:
        yield Finding(("schedule", "cron"), *problem)
    if schedule.on_data_commit != "off" and data.files is None:
        expected = "data with commits (data.files), or 'off': the built-in example never changes"
        yield Finding(("schedule", "on_data_commit"), f"'{schedule.on_data_commit}'", expected)
    if schedule.on_data_commit != "off" and _WITH_PASSWORD.match(data.repository or ""):
        expected = "the address alone: an Airflow connection (data.connection) has the credentials"
        yield Finding(("data", "repository"), "credentials in an address that is watched", expected)
    if schedule.replay:
        yield from _check_replay(view)


def _check_replay(view: View) -> Iterator[Finding]:
    schedule = view.spec.schedule
    if schedule.cron is None:
        yield Finding(("schedule", "replay"), "true without dates to replay", "schedule.cron as well, or false")
    if schedule.on_data_commit == "off":
        expected = "schedule.on_data_commit: every or latest, or false"
        yield Finding(("schedule", "replay"), "true where no data commit starts anything", expected)


_URL = re.compile(r"[a-z+]+://|[^/]+@[^/]+:")
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
