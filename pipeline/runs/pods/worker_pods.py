"""The pods of a network's further workers, next to the step's own pod: their manifests. Pure.

They are told only how to reach the step's pod: no secret of the spec, no token, no address of the store. The step's pod
owns all of them, so they are removed with it, whatever ends it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.delivery.platforms.kubernetes.troubles import MENDS, Kind, Object, diagnose
from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.runs.pods.step_pod import (
    DEADLINE_SLACK_S,
    OWN_PLACE,
    POD,
    POD_ADDRESS,
    POD_UID,
    SCRATCH,
    container_of,
    ended_of,
    labels_of,
    pod_spec,
)
from pipeline.spec.placement import worker_placement
from pipeline.spec.schema.spec import Spec

COMPONENT = "train-worker"
KUBEFLOW = "trainer.kubeflow.org/v1alpha1"
"""API of Kubeflow Trainer, with its ``TrainJob``."""
_RESTARTS = 20
"""How often a worker is started, at most: what is lost too often ends the training itself."""
_INDEX = "$(JOB_COMPLETION_INDEX)"  # what the controller of Jobs tells each pod
_NAME_LENGTH = 63  # of a pod made by Kubeflow Trainer: JobSet refuses a longer one
_CONTAINER = "node"  # Kubeflow Trainer looks for it by that name
_ROLE = "app.kubernetes.io/component"
_SIGNALS = 128  # exit codes from here on are those of signals
_ENDS: Mapping[str, str] = {"Failed": "failed", "Complete": "was done"}
"""Conditions by which a Job, or a TrainJob, says that it makes no more pods."""
_CRASHES = 3
"""So many pods that ended with the same words will not be the last ones."""


@dataclass(frozen=True)
class Leader:
    """The pod of the step.

    Attributes
    ----------
    address : str
        Where other pods reach it.
    """

    name: str
    uid: str
    address: str

    @property
    def mark(self) -> dict[str, str]:
        """Label of the pods that follow it."""
        return {"app.kubernetes.io/instance": self.uid}


def find_leader(environ: Mapping[str, str]) -> Leader | None:
    """Find the pod that this process runs in, if it was started to lead workers."""
    found = [environ.get(name, "") for name in (POD, POD_UID, POD_ADDRESS)]
    return Leader(*found) if all(found) else None


def worker_objects(
    spec: Spec, leader: Leader, words: Sequence[str], count: int, group: int, apis: frozenset[str]
) -> list[Object]:
    """Build what starts workers: a network policy, and a TrainJob where there is Kubeflow Trainer, else an indexed Job.

    Parameters
    ----------
    words : sequence of str
        Arguments of Python; ``INDEX`` and ``ADDRESS`` among them stand for the pod's own.
    group : int
        Which of the groups of workers that the step has had, since a search has many.
    apis : frozenset of str
        ``GROUP/VERSION`` of what the cluster has.
    """
    metadata, job = _metadata(spec, leader, count, group), _job_spec(spec, leader, words, count)
    if KUBEFLOW in apis:
        return [_policy(spec, metadata), *_kubeflow(metadata, job, count)]
    return [_policy(spec, metadata), {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}]


def _metadata(spec: Spec, leader: Leader, count: int, group: int) -> dict[str, Any]:
    owner = {"apiVersion": "v1", "kind": "Pod", "name": leader.name, "uid": leader.uid}
    return {
        "name": _name(leader, count, group),
        "namespace": spec.run.namespace,
        "labels": labels_of(spec, COMPONENT) | leader.mark,
        "ownerReferences": [owner],
    }


def _name(leader: Leader, count: int, group: int) -> str:
    """Name a group by the end of the leader's name, which makes it unique; the name begins with a letter."""
    own = f"-workers-{group}"
    room = _NAME_LENGTH - len(f"{own}-node-0-{count - 1}-abcde")
    return re.sub(r"^[^a-z]+", "", leader.name.replace(".", "-")[-room:]) + own


def _job_spec(spec: Spec, leader: Leader, words: Sequence[str], count: int) -> dict[str, Any]:
    """Build a Job whose pods have an index each; a pod that replaces a lost one gets its index."""
    return {
        "completionMode": "Indexed",
        "completions": count,
        "parallelism": count,
        "backoffLimitPerIndex": _RESTARTS,
        "podReplacementPolicy": "TerminatingOrFailed",
        "activeDeadlineSeconds": spec.tasks.timeout_s + DEADLINE_SLACK_S,
        "template": {"metadata": {"labels": labels_of(spec, COMPONENT) | leader.mark}, "spec": _pod(spec, words)},
    }


def _pod(spec: Spec, words: Sequence[str]) -> dict[str, Any]:
    place = worker_placement(spec.run)
    own = {"INDEX": _INDEX, "ADDRESS": f"$({POD_ADDRESS})"}
    container = container_of(place, [own.get(each, each) for each in words], {}, spec.run.image, SCRATCH)
    container |= {"name": _CONTAINER, "command": ["python", "-P"], "env": [*container["env"], *OWN_PLACE]}
    pod = pod_spec(spec, place, container, SCRATCH, spec.run.service_account, trusted=False)
    return pod | {"terminationGracePeriodSeconds": 1}  # it keeps nothing, so nothing is to be saved


def _policy(spec: Spec, metadata: Mapping[str, Any]) -> Object:
    """Let the pods that train a model be reached by one another only."""
    selector = {
        "matchLabels": {name: each for name, each in labels_of(spec, COMPONENT).items() if name != _ROLE},
        "matchExpressions": [{"key": _ROLE, "operator": "In", "values": ["train", COMPONENT]}],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": dict(metadata),
        "spec": {
            "podSelector": selector,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": selector}]}],
        },
    }


def _kubeflow(metadata: Mapping[str, Any], job: Mapping[str, Any], count: int) -> list[Object]:
    """Build a TrainJob, and the runtime that describes its pods: a TrainJob itself cannot restrict them."""
    role = {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}
    replicated = {"name": "node", "replicas": 1, "template": {"metadata": {"labels": role}, "spec": dict(job)}}
    return [
        {
            "apiVersion": KUBEFLOW,
            "kind": "TrainingRuntime",
            "metadata": dict(metadata),
            "spec": {"mlPolicy": {"numNodes": count}, "template": {"spec": {"replicatedJobs": [replicated]}}},
        },
        {
            "apiVersion": KUBEFLOW,
            "kind": "TrainJob",
            "metadata": dict(metadata),
            "spec": {
                "runtimeRef": {
                    "apiGroup": KUBEFLOW.partition("/")[0],
                    "kind": "TrainingRuntime",
                    "name": metadata["name"],
                },
                "trainer": {"numNodes": count},
            },
        },
    ]


def explain_absence(
    pods: Sequence[Object], started: Object | None, waited_s: float, limit_s: float, extra: str
) -> ModelrailError | None:
    """Say why workers are not there, if they should be by now or cannot come.

    Parameters
    ----------
    pods : sequence of mapping
        As the API gives them.
    started : mapping or None
        The Job or TrainJob that makes them; None if it is gone.
    waited_s, limit_s : float
        Seconds: for how long, and for how long at most.
    extra : str
        That the workers need.
    """
    trouble = diagnose(pods, _MENDS)
    if trouble and trouble.final:
        return InputError(f"train: worker: {trouble.say}")
    if said := _crash(pods):
        return ModelrailError(f"train: worker: {said}; expected it to stay: has run.image the extra '{extra}'?")
    if started is None:
        return TransientError("train: workers: found their Job gone; expected it to stay: did someone delete it?")
    if said := _end(started):
        return TransientError(f"train: workers: {said}; expected them to stay until the training ends")
    if waited_s < limit_s:
        return None
    late = trouble.say if trouble else _silence(pods, started, limit_s)
    return TransientError(f"train: worker: {late} (run.start_timeout_s)")


def _end(started: Object) -> str | None:
    """Say how a Job or TrainJob ended, if it has: both use the same conditions."""
    said = {each["type"]: each for each in _status(started).get("conditions") or () if each["status"] == "True"}
    for kind, words in _ENDS.items():
        if found := said.get(kind):
            why = f"{found.get('reason', '')}: {found.get('message', '')}".strip(": ")
            return f"{_called(started)}: found that it {words} ({why[:300]})"
    return None


def _silence(pods: Sequence[Object], started: Object, limit_s: float) -> str:
    """Say what the cluster reports of workers that have not reported themselves."""
    found = f"found workers not there after {limit_s:.0f} s"
    if pods:
        return f"{found}; expected them"
    kind, name = started["kind"], started["metadata"]["name"]
    return f"{_called(started)}: {found}, and no pod of theirs; 'kubectl describe {kind.lower()} {name}' says why"


def _called(started: Object) -> str:
    return f"{started['kind']} {started['metadata']['name']}"


def _status(started: Object) -> Object:
    return started.get("status") or {}


def explain_loss(pods: Sequence[Object]) -> str:
    """Say what happened to a worker, as far as the cluster knows."""
    trouble = diagnose(pods, _MENDS)
    return trouble.say if trouble else "a pod that does not answer"


def _crash(pods: Sequence[Object]) -> str | None:
    """Say how workers crash repeatedly; pods that the cluster has ended do not count."""
    ended = [(pod["metadata"]["name"], ended_of(pod.get("status") or {})) for pod in pods]
    crashed = [(name, each) for name, each in ended if 0 < each.get("exitCode", 0) < _SIGNALS]
    if len(crashed) < _CRASHES:
        return None
    name, last = crashed[-1]
    lines = (last.get("message") or "").strip().splitlines() or ["it wrote nothing"]
    return f"pod {name}: found the exit code {last['exitCode']} again and again: {lines[-1][:300]}"


_MENDS: Mapping[Kind, str] = {
    **MENDS,
    "image": "the pipeline's image with the trainer's extra in the registry, and an account that may pull it"
    " (run.image, run.service_account)",
    "memory": "it to fit: give it more memory (run.workers.memory)",
    "crash": "it to stay: 'kubectl logs {name}'",
    "eviction": "room: say how much memory it needs (run.workers.memory)",
    "place": "one with room: lower run.workers.cpu or memory, mend its node_selector or tolerations, or add a node",
}
