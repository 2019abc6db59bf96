"""The pod of a step: its manifest, and what its end means. Pure; Airflow starts and watches the pod."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.delivery.platforms.kubernetes.troubles import MENDS, Kind, Object, diagnose
from pipeline.errors import InputError, ModelrailError, TransientError, redact
from pipeline.runs.opened_run import OpenedRun
from pipeline.spec.companion_files import own_image
from pipeline.spec.image_names import ELSEWHERE
from pipeline.spec.placement import DEPLOYING, companions, has_worker_pods, placement
from pipeline.spec.schema.run import Placement, StepName
from pipeline.spec.schema.spec import Spec
from pipeline.storage.git.mirrors import is_url

CONTAINER = "step"
USER = 65532
"""Nobody in particular: the image needs no name for it."""
PACKAGING: tuple[StepName, ...] = ("release", "deploy")
"""Steps that may push an image."""
POD, POD_UID, POD_ADDRESS = "MODELRAIL_POD", "MODELRAIL_POD_UID", "MODELRAIL_POD_ADDRESS"
OWN_PLACE = [
    {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
    for name, path in ((POD, "metadata.name"), (POD_UID, "metadata.uid"), (POD_ADDRESS, "status.podIP"))
]
"""By which a pod knows which one it is."""
_WORK, _SCRATCH, _LOGINS = "/work", "/tmp", "/logins"  # noqa: S108 - the pod's own
_LOGIN_FILE = "config.json"
Volumes = Mapping[str, Mapping[str, Any]]
SCRATCH: Volumes = {_WORK: {"name": "work", "emptyDir": {}}, _SCRATCH: {"name": "scratch", "emptyDir": {}}}
"""What every pod has mounted, by folder."""
DEADLINE_SLACK_S = 120
"""Seconds after a step's time-out at which the cluster ends a pod that nobody watches any more."""
_PASSED_ON = (
    *("MODELRAIL_STORE", "MLFLOW_TRACKING_URI", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_REGION"),
    "MODELRAIL_PLAIN_REGISTRIES",
)


def addresses(environ: Mapping[str, str]) -> dict[str, str]:
    """Pick the addresses that a pod is told; credentials are in ``run.secrets``.

    Parameters
    ----------
    environ : mapping
        Environment of the Airflow worker.

    Raises
    ------
    InputError
        If the store or MLflow are where no pod reaches them, or an address has credentials in it.
    """
    found = {name: environ[name] for name in _PASSED_ON if environ.get(name)}
    if "://" not in found.get("MODELRAIL_STORE", "") or found["MODELRAIL_STORE"].startswith("file:"):
        raise InputError(_unreachable(found, "MODELRAIL_STORE", "an object store, such as s3://bucket/folder"))
    if not found.get("MLFLOW_TRACKING_URI", "").startswith(("http://", "https://")):
        raise InputError(_unreachable(found, "MLFLOW_TRACKING_URI", "an MLflow server, such as https://mlflow.example"))
    for name, address in found.items():
        if redact(address) != address:
            raise InputError(
                f"{name}: found credentials in an address that pods are told; expected the address alone: a secret of"
                " the cluster has them (run.secrets)"
            )
    return found


def _unreachable(found: Mapping[str, str], name: str, expected: str) -> str:
    place = f"'{redact(found[name])}'" if name in found else "a place on this machine"
    return f"{name}: found {place} for a run with steps in pods; expected {expected}"


def refuse_unclonable(spec_path: str, uncommitted: Sequence[str], commit: str, repository: str) -> None:
    """Refuse a spec with changes that are not committed and pushed: a pod clones the commit.

    Parameters
    ----------
    uncommitted : sequence of str
        Files that differ from the commit.
    commit : str
        The commit, empty if there is none.
    repository : str
        URL to clone from, empty if there is none.
    """
    if uncommitted or not commit:
        files = ", ".join(uncommitted[:5]) or spec_path
        where = "in a run with steps in pods or on Dask"
        raise InputError(f"{files}: found changes {where}; expected them committed and pushed")
    if not is_url(repository) or redact(repository) != repository:
        found = f"'{redact(repository)}'" if repository else "no remote 'origin'"
        raise InputError(
            f"{spec_path}: found {found} for pods to clone; expected a URL without credentials (run.repository, or"
            " the URL of the remote 'origin')"
        )


def step_command(opened: OpenedRun, steps: Sequence[str], partitions: Sequence[str] | None, threads: int) -> list[str]:
    """Build the arguments of ``modelrail`` that do steps of an opened run elsewhere.

    Parameters
    ----------
    steps : sequence of str
        Done in this order; only the first one must succeed.
    """
    first, *others = steps
    told = json.dumps(opened.for_others(), separators=(",", ":"))
    words = [
        "step",
        first,
        opened.spec_path,
        "--repository",
        opened.repository,
        "--commit",
        opened.spec_commit,
    ]
    words += [word for step in others for word in ("--then", step)]
    words += [word for partition in partitions or () for word in ("--partition", partition)]
    return [*words, "--threads", str(threads), "--opened", told]


def manifest(spec: Spec, step: StepName, arguments: Sequence[str], told: Mapping[str, str]) -> dict[str, Any]:
    """Build the pod that runs a step: without root, writing only to its own scratch space, with a token only if needed.

    Parameters
    ----------
    arguments : sequence of str
        Of the command ``modelrail``.
    told : mapping
        Environment variables, none of them secret.
    """
    place, volumes = placement(spec.run, step), _volumes(spec, [step, *companions(spec.run, step)])
    account, trusted = _account(spec, step)
    container = container_of(place, arguments, {**_registries(spec, volumes), **told}, _image(spec, step), volumes)
    container["envFrom"] = [{"secretRef": {"name": name}} for name in spec.run.secrets]
    if _leads_workers(spec, step):
        container["env"] += OWN_PLACE
    labels = labels_of(spec, step)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod_name(spec.model.name, step), "namespace": spec.run.namespace, "labels": labels},
        "spec": pod_spec(spec, place, container, volumes, account, trusted=trusted),
    }


def _leads_workers(spec: Spec, step: StepName) -> bool:
    """Tell whether a step's pod starts others, in which a network's workers learn."""
    return step == "train" and has_worker_pods(spec)


def _account(spec: Spec, step: StepName) -> tuple[str | None, bool]:
    """Choose a pod's account, and whether the pod gets its token."""
    if step in DEPLOYING:
        return spec.run.deployer, spec.run.deployer is not None
    if _leads_workers(spec, step):
        return spec.run.trainer, True
    return spec.run.service_account, False


def labels_of(spec: Spec, component: str) -> dict[str, str]:
    """Build the labels of a pod: who started it, and what it does for which model."""
    return {
        "app.kubernetes.io/managed-by": "modelrail",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": _word(spec.model.name),
    }


def pod_spec(
    spec: Spec,
    place: Placement,
    container: Mapping[str, Any],
    volumes: Volumes,
    account: str | None,
    *,
    trusted: bool,
) -> dict[str, Any]:
    """Build the specification of a pod with one container, by the ``restricted`` level of Kubernetes' pod security."""
    pod = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": spec.tasks.timeout_s + DEADLINE_SLACK_S,
        "automountServiceAccountToken": trusted,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [dict(container)],
        "volumes": [*volumes.values()],
        "nodeSelector": place.node_selector,
        "tolerations": [each.model_dump(exclude_none=True) for each in place.tolerations or ()],
        "serviceAccountName": account,
    }
    return {name: value for name, value in pod.items() if value not in (None, [])}


def pod_name(model: str, step: str) -> str:
    """Name a pod so that people find it; what makes the name unique is appended later."""
    return f"{_word(model)}-{step}"


def _word(model: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", model[:30].lower()).strip("-")


def threads_of(place: Placement) -> int:
    """Say how many threads a pod works with: the CPUs that it has for sure."""
    return math.ceil(place.cpu or 1)


def _image(spec: Spec, step: StepName) -> str | None:
    """Choose the image of a step's pod: the one that a command trains in, else that of all steps."""
    return (own_image(spec) if step == "train" else None) or spec.run.image


def _volumes(spec: Spec, steps: Sequence[str]) -> Volumes:
    """List what a pod has mounted, by folder: scratch space, and the registry login for steps that push images."""
    secret = spec.deploy.image.push_secret if spec.deploy.image else None
    found = dict(SCRATCH)
    if secret and set(PACKAGING) & set(steps):
        items = [{"key": ".dockerconfigjson", "path": _LOGIN_FILE}]
        found[_LOGINS] = {"name": "logins", "secret": {"secretName": secret, "items": items}}
    return found


def _registries(spec: Spec, volumes: Mapping[str, object]) -> dict[str, str]:
    """Build the variables about registries: their addresses as seen from the pod, and where its login is."""
    elsewhere = ",".join(f"{name}={url}" for name, url in spec.run.registries.items())
    told = {ELSEWHERE: elsewhere, "REGISTRY_AUTH_FILE": f"{_LOGINS}/{_LOGIN_FILE}" if _LOGINS in volumes else ""}
    return {name: value for name, value in told.items() if value}


def container_of(
    place: Placement, arguments: Sequence[str], told: Mapping[str, str], image: str | None, volumes: Volumes
) -> dict[str, Any]:
    """Build the container of a pod, which writes only to its own scratch space."""
    folders = {"HOME": _WORK, "MODELRAIL_HOME": f"{_WORK}/state", "TMPDIR": _SCRATCH, "MPLCONFIGDIR": _SCRATCH}
    environment = {
        **folders,
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "OMP_NUM_THREADS": str(threads_of(place)),
        "MODELRAIL_IMAGE": image or "",
        **told,
    }
    return {
        "name": CONTAINER,
        "image": image,
        "args": list(arguments),
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": _resources(place),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": volume["name"], "mountPath": folder} for folder, volume in volumes.items()],
    }


def _resources(place: Placement) -> dict[str, Any]:
    """Request CPU without a limit, which would only slow the pod down; request as much memory as its limit allows."""
    fixed = {"memory": place.memory, "nvidia.com/gpu": None if place.gpu is None else str(place.gpu)}
    limits = {name: value for name, value in fixed.items() if value is not None}
    requests = limits | ({} if place.cpu is None else {"cpu": f"{place.cpu:g}"})
    return {"requests": requests, "limits": limits}


def explain_end(pod: Object | None, step: str, timeout_s: int) -> ModelrailError:
    """Say why a step's pod failed, which key mends it, and by the error's type whether trying again can help.

    Parameters
    ----------
    pod : mapping or None
        As the API gave it last; None if it is gone.
    """
    if pod is None:
        return TransientError(
            f"{step}: found its pod gone; expected it to end by itself: was it, or its node, removed?"
        )
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if trouble := diagnose([pod], _mends(step)):
        final = trouble.final or trouble.kind == "image"  # Airflow has waited while there was hope
        return (ModelrailError if final else TransientError)(f"{step}: {trouble.say}")
    ended = ended_of(status)
    if ended.get("exitCode"):
        return _explain_exit(step, name, ended)
    if status.get("reason") == "DeadlineExceeded" or status.get("phase") in {"Pending", "Running"}:
        found = f"pod {name}: found it without an end after {timeout_s} s"
        return ModelrailError(f"{step}: {found}; expected it to be done: give it more time (tasks.timeout_s)")
    said = status.get("message") or status.get("reason") or "no reason"
    return TransientError(f"{step}: pod {name}: found that its node ended it ({said}); expected it to end by itself")


def _explain_exit(step: str, name: str, ended: Mapping[str, Any]) -> ModelrailError:
    code, said = ended["exitCode"], _last_words(ended.get("message") or "")
    if code > 128:
        found = f"pod {name}: found its process killed by signal {code - 128}"
        return TransientError(f"{step}: {found}; expected it to end by itself: did someone delete the pod?")
    kinds = {each.exit_code: each for each in (InputError, TransientError)}
    return kinds.get(code, ModelrailError)(said or f"{step}: pod {name}: found the exit code {code}; see its log")


def _last_words(log: str) -> str:
    """Find the message that the command ended with, or the last line of its traceback."""
    _, found, message = log.strip().rpartition("modelrail: ")
    return message if found else message.rpartition("\n")[2]


def ended_of(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read how a pod's container ended; empty if it has not."""
    states = [each.get("state") or {} for each in status.get("containerStatuses") or ()]
    return next((state["terminated"] for state in states if state.get("terminated")), {})


def _mends(step: str) -> Mapping[Kind, str]:
    """Say which keys of the spec mend a step's pod."""
    return {
        **MENDS,
        "image": "an image that is in the registry (run.image; 'modelrail images build pipeline' makes it), and an"
        " account that may pull it (run.service_account)",
        "memory": f"it to fit: give it more memory (run.{step}.memory)",
        "container": "everything that it names to be there (run.secrets)",
        "eviction": f"room: say how much memory it needs (run.{step}.memory), so that its node has enough",
        "place": f"one with room: lower run.{step}.cpu or memory, mend its node_selector or tolerations, or add a node",
    }


def explain_refusal(status: int, said: str, step: str, namespace: str) -> ModelrailError:
    """Say why the cluster refused a pod, or did not answer (status 0)."""
    found = f"{step}: cluster: found its API's answer {status or 'missing'} ({said[:300]})"
    if status in {0, 409, 429} or status >= 500:
        return TransientError(f"{found}; expected it to answer")
    if status == 404:
        return InputError(f"{found}; expected the namespace '{namespace}' (run.namespace)")
    if status in {401, 403}:
        return InputError(
            f"{found}; expected an account that may create, get, list, patch and delete pods and read their logs in the"
            f" namespace '{namespace}' (run.connection), and a pod that the namespace's policy and quota allow"
        )
    return InputError(f"{found}; expected a pod that it accepts (run.{step})")
