"""The pods of a network's workers: pure functions of a spec and of what a cluster says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.delivery.platforms.kubernetes.access import accounts, trainer
from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.runs.pods.step_pod import manifest
from pipeline.runs.pods.worker_pods import KUBEFLOW, Leader, explain_absence, explain_loss, find_leader, worker_objects
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.spec import Spec

SPEC = """\
model: {name: Wave, trainer: torch_mlp, task: regression, target: y, params: {workers: 3}}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
run:
  train: {where: pod, cpu: 2, memory: 4Gi, gpu: 1, node_selector: {pool: fast}}
  workers: {where: pod, memory: 1Gi}
  trainer: modelrail-trainer
  image: registry.example/pipeline:1
  namespace: models
  secrets: [store]
  service_account: puller
"""
LEADER = Leader("wave-train-x1", "0d2f", "10.0.0.7")
WORDS = ["-m", "worker", "tcp://10.0.0.7:1/word", "INDEX", "3", "ADDRESS"]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load_spec(tmp_path / "spec.yaml").spec


def objects(spec: Spec, *apis: str) -> dict[str, Any]:
    return {each["kind"]: each for each in worker_objects(spec, LEADER, WORDS, 2, 1, frozenset(apis))}


def job_pod(found: dict[str, Any]) -> dict[str, Any]:
    return dict(found["Job"]["spec"]["template"]["spec"])


def test_workers_are_an_indexed_job_that_belongs_to_the_pod_of_the_step(spec: Spec) -> None:
    found = objects(spec)
    assert set(found) == {"Job", "NetworkPolicy"}
    job = found["Job"]
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 2, 2)
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "wave-train-x1", "uid": "0d2f"}
    assert [each["metadata"]["ownerReferences"] for each in found.values()] == [[owner], [owner]]
    (container,) = job_pod(found)["containers"]
    words = ["-m", "worker", "tcp://10.0.0.7:1/word", "$(JOB_COMPLETION_INDEX)", "3", "$(MODELRAIL_POD_ADDRESS)"]
    assert container["args"] == words


def test_a_worker_gets_what_the_step_gets_but_its_gpu_and_what_the_spec_says_of_workers(spec: Spec) -> None:
    pod = job_pod(objects(spec))
    assert pod["nodeSelector"] == {"pool": "fast"}
    assert pod["containers"][0]["resources"] == {"requests": {"memory": "1Gi", "cpu": "2"}, "limits": {"memory": "1Gi"}}


def test_a_worker_is_restricted_and_gets_neither_secrets_nor_a_token(spec: Spec) -> None:
    pod, step = job_pod(objects(spec)), manifest(spec, "train", [], {})["spec"]
    (container,), (of_step,) = pod["containers"], step["containers"]
    assert pod["securityContext"] == step["securityContext"]
    assert container["securityContext"] == of_step["securityContext"]
    assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (False, "puller")
    assert (step["automountServiceAccountToken"], step["serviceAccountName"]) == (True, "modelrail-trainer")
    assert "envFrom" not in container
    assert of_step["envFrom"] == [{"secretRef": {"name": "store"}}]


def test_only_those_who_train_the_model_reach_each_other(spec: Spec) -> None:
    policy, step = objects(spec)["NetworkPolicy"]["spec"], manifest(spec, "train", [], {})["metadata"]
    selector = policy["podSelector"]
    assert policy["ingress"] == [{"from": [{"podSelector": selector}]}]
    worker = objects(spec)["Job"]["spec"]["template"]["metadata"]
    (role,) = selector["matchExpressions"]
    for labels in (step["labels"], worker["labels"]):
        assert selector["matchLabels"].items() <= labels.items()
        assert labels[role["key"]] in role["values"]


def test_kubeflow_trainer_is_given_the_same_pods(spec: Spec) -> None:
    found = objects(spec, KUBEFLOW)
    assert set(found) == {"NetworkPolicy", "TrainingRuntime", "TrainJob"}
    (replicated,) = found["TrainingRuntime"]["spec"]["template"]["spec"]["replicatedJobs"]
    assert replicated["template"]["spec"] == objects(spec)["Job"]["spec"]
    assert found["TrainJob"]["spec"]["runtimeRef"]["name"] == found["TrainingRuntime"]["metadata"]["name"]
    assert found["TrainJob"]["spec"]["trainer"] == {"numNodes": 2}


@pytest.mark.parametrize(
    ("leader", "count", "name"),
    [
        ("wave-train-x1", 2, "wave-train-x1-workers-1"),
        ("late-flights-of-new-york-with-train-bxa1c2d9", 12, "ights-of-new-york-with-train-bxa1c2d9-workers-1"),
        ("flights-2013-by-month-of-years-train-bxa1c2d9", 2, "by-month-of-years-train-bxa1c2d9-workers-1"),
        ("a.9-train-bxa1c2d9", 2, "a-9-train-bxa1c2d9-workers-1"),
    ],
)
def test_the_pods_of_kubeflow_trainer_have_names_that_jobset_accepts(
    spec: Spec, leader: str, count: int, name: str
) -> None:
    found = worker_objects(spec, Leader(leader, "0d2f", "10.0.0.7"), WORDS, count, 1, frozenset({KUBEFLOW}))
    assert {each["metadata"]["name"] for each in found} == {name}
    assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", f"{name}-node-0-{count - 1}-abcde")


def test_a_process_leads_only_in_a_pod_that_was_started_for_it(spec: Spec) -> None:
    names = [each["name"] for each in manifest(spec, "train", [], {})["spec"]["containers"][0]["env"][-3:]]
    told = dict(zip(names, ("wave-train-x1", "0d2f", "10.0.0.7"), strict=True))
    assert find_leader(told) == LEADER
    assert find_leader({}) is None
    assert not set(names) & {each["name"] for each in manifest(spec, "clean", [], {})["spec"]["containers"][0]["env"]}


def test_the_account_that_trains_may_only_start_and_remove_what_it_needs(spec: Spec) -> None:
    (role,) = (each for each in trainer("models") if each["kind"] == "Role")
    rights = {name: set(rule["verbs"]) for rule in role["rules"] for name in rule["resources"]}
    assert rights.pop("pods") == {"list"}
    assert rights == {
        "jobs": {"create", "get", "delete"},
        "trainjobs": {"create", "get", "delete"},
        "trainingruntimes": {"create", "delete"},
        "networkpolicies": {"create", "delete"},
    }
    assert [each["metadata"]["name"] for each in accounts(spec) if each["kind"] == "ServiceAccount"] == [
        "modelrail-deployer",
        "modelrail-trainer",
    ]


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "w-0"}, "spec": {"containers": [{"name": "node"}]}, "status": status}


def ended(code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "reason": reason, "message": message}}
    return pod(phase="Failed", containerStatuses=[{"name": "node", "image": "i", "state": state}])


WAITING = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
MISSING = "Traceback\nModuleNotFoundError: No module named 'torch'"
PLACELESS = [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]


@pytest.mark.parametrize(
    ("pods", "waited_s", "kind", "said"),
    [
        ([], 1, None, ""),
        ([ended(137), ended(143), ended(1, message=MISSING)], 1, None, ""),
        (
            [ended(1, message=MISSING)] * 3,
            1,
            ModelrailError,
            "No module named 'torch'; expected it to stay: has run.image the extra 'torch'?",
        ),
        ([ended(137, "OOMKilled")], 1, InputError, "give it more memory (run.workers.memory)"),
        ([pod(containerStatuses=[{"name": "node", "image": "i", "state": WAITING}])], 1, InputError, "(run.image,"),
        ([pod(conditions=PLACELESS)], 1, None, ""),
        ([pod(conditions=PLACELESS)], 9, TransientError, "lower run.workers.cpu or memory"),
        ([pod()], 9, TransientError, "found workers not there after 8 s; expected them (run.start_timeout_s)"),
        ([], 9, TransientError, "no pod of theirs; 'kubectl describe trainjob w' says why (run.start_timeout_s)"),
    ],
)
def test_workers_that_do_not_come_say_why(pods: Any, waited_s: float, kind: Any, said: str) -> None:
    error = explain_absence(pods, made(), waited_s, 8, "torch")
    assert (None if error is None else type(error)) is kind
    assert said in str(error)


def made(*conditions: tuple[str, str], kind: str = "TrainJob") -> dict[str, Any]:
    said = [{"type": name, "status": status, "reason": "R", "message": "said"} for name, status in conditions]
    return {"kind": kind, "metadata": {"name": "w"}, "status": {"conditions": said}}


@pytest.mark.parametrize(
    ("started", "said"),
    [
        (made(("Failed", "True")), "TrainJob w: found that it failed (R: said); expected them to stay"),
        (made(("Suspended", "True"), ("Complete", "True")), "TrainJob w: found that it was done (R: said)"),
        (made(("FailureTarget", "True"), ("Failed", "True"), kind="Job"), "Job w: found that it failed"),
        (None, "found their Job gone"),
        (made(("Failed", "False"), ("Suspended", "True")), ""),
    ],
)
def test_workers_whose_job_ended_are_not_waited_for(started: Any, said: str) -> None:
    error = explain_absence([], started, 1, 8, "torch")
    assert (None if error is None else type(error)) is (TransientError if said else None)
    assert said in str(error)


def test_a_lost_worker_is_told_with_what_the_cluster_knows() -> None:
    assert explain_loss([]) == "a pod that does not answer"
    assert "killed for want of memory" in explain_loss([ended(137, "OOMKilled")])


def test_nothing_secret_is_in_what_a_worker_is_told(spec: Spec) -> None:
    told = json.dumps(objects(spec))
    assert "store" not in told
    assert "s3://" not in told
