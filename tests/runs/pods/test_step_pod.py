"""The pod of a step, and what its end means: pure functions of a spec and of what a cluster says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.runs.pods.step_pod import addresses, explain_end, explain_refusal, manifest, pod_name, refuse_unclonable
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.spec import Spec

SPEC = """\
model: {name: Late_Flights, trainer: ridge, target: y}
data: {files: "data/{year}.csv", columns: {x: float, y: float}}
deploy: {push_tags: true, image: {base: r.example/serving:1, repository: r.example/models}}
environment: {platform: kubernetes}
tasks: {timeout_s: 600}
run:
  default: {where: pod, cpu: 0.5, memory: 1Gi}
  train:
    memory: 8Gi
    gpu: 1
    node_selector: {disk: fast}
    tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
  image: registry.example/pipeline:1
  namespace: models
  secrets: [store]
  service_account: puller
  deployer: deployer
"""
ADDRESSES = {"MODELRAIL_STORE": "s3://bucket/store", "MLFLOW_TRACKING_URI": "http://mlflow:5000"}


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load_spec(tmp_path / "spec.yaml").spec


def container(pod: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod["spec"]["containers"]
    return dict(only)


def test_a_pod_has_what_its_step_needs_and_no_right_more(spec: Spec) -> None:
    pod = manifest(spec, "train", ["step", "train"], ADDRESSES)
    assert pod["metadata"]["name"] == "late-flights-train"
    assert pod["metadata"]["namespace"] == "models"
    assert pod["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(pod)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["spec"]["automountServiceAccountToken"]
    assert pod["spec"]["serviceAccountName"] == "puller"
    assert pod["spec"]["activeDeadlineSeconds"] == 720
    assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
    assert pod["spec"]["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert container(pod)["resources"] == {
        "requests": {"memory": "8Gi", "nvidia.com/gpu": "1", "cpu": "0.5"},
        "limits": {"memory": "8Gi", "nvidia.com/gpu": "1"},
    }


def test_a_command_that_trains_has_its_own_image_and_the_other_steps_the_usual_one(tmp_path: Path) -> None:
    own = f"registry.example/own@sha256:{'1' * 64}"
    (tmp_path / "train.py").touch()
    model = f"model: {{name: own, trainer: container, task: regression, target: y, params: {{image: '{own}'}}}}\n"
    (tmp_path / "spec.yaml").write_text(model + SPEC.partition("\n")[2])
    spec = load_spec(tmp_path / "spec.yaml").spec
    for step, image in (("train", own), ("evaluate", "registry.example/pipeline:1")):
        found = container(manifest(spec, step, ["step", step], ADDRESSES))  # type: ignore[arg-type]
        assert found["image"] == image
        assert {"name": "MODELRAIL_IMAGE", "value": image} in found["env"]


def test_a_step_that_says_nothing_has_what_the_default_says(spec: Spec) -> None:
    pod = manifest(spec, "clean", [], ADDRESSES)
    assert container(pod)["resources"] == {"requests": {"memory": "1Gi", "cpu": "0.5"}, "limits": {"memory": "1Gi"}}
    assert "tolerations" not in pod["spec"]


@pytest.mark.parametrize(("step", "token", "account"), [("deploy", True, "deployer"), ("train", False, "puller")])
def test_only_a_pod_that_deploys_has_a_token(spec: Spec, step: Any, token: bool, account: str) -> None:  # noqa: FBT001
    pod = manifest(spec, step, [], ADDRESSES)["spec"]
    assert (pod["automountServiceAccountToken"], pod["serviceAccountName"]) == (token, account)


def test_secrets_are_named_and_never_told(spec: Spec) -> None:
    told = addresses(ADDRESSES | {"AWS_SECRET_ACCESS_KEY": "hidden", "AWS_ENDPOINT_URL": "http://s3"})
    pod = manifest(spec, "train", [], told)
    assert container(pod)["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert {"name": "AWS_ENDPOINT_URL", "value": "http://s3"} in container(pod)["env"]
    assert "hidden" not in json.dumps(pod)


@pytest.mark.parametrize(("step", "pushes"), [("train", False), ("release", True), ("deploy", True), ("verify", False)])
def test_pods_that_push_images_have_a_login_and_know_where_the_registry_is_from_there(
    tmp_path: Path, step: Any, *, pushes: bool
) -> None:
    images = "image: {push_secret: login, "
    elsewhere = 'registries: {"localhost:5001": "http://kind-registry:5000", other: "https://r.example/"}\n'
    (tmp_path / "spec.yaml").write_text(SPEC.replace("image: {", images) + f"  {elsewhere}")
    pod = manifest(load_spec(tmp_path / "spec.yaml").spec, step, [], ADDRESSES)
    known = {each["name"]: each["value"] for each in container(pod)["env"]}
    assert known["MODELRAIL_REGISTRIES"] == "localhost:5001=http://kind-registry:5000,other=https://r.example/"
    assert known.get("REGISTRY_AUTH_FILE") == ("/logins/config.json" if pushes else None)
    mounted = [each["mountPath"] for each in container(pod)["volumeMounts"] if each["name"] == "logins"]
    assert mounted == (["/logins"] if pushes else [])
    logins = {"secretName": "login", "items": [{"key": ".dockerconfigjson", "path": "config.json"}]}
    assert [each.get("secret") for each in pod["spec"]["volumes"][2:]] == ([logins] if pushes else [])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"MODELRAIL_STORE": ""}, "MODELRAIL_STORE: found a place on this machine"),
        ({"MODELRAIL_STORE": "/var/store"}, "MODELRAIL_STORE: found '/var/store'"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}, "MLFLOW_TRACKING_URI: found 'sqlite:///mlflow.db'"),
        ({"MLFLOW_TRACKING_URI": "http://me:pw@mlflow"}, "MLFLOW_TRACKING_URI: found credentials in an address"),
    ],
)
def test_what_no_pod_reaches_is_refused_when_the_run_is_planned(changes: dict[str, str], found: str) -> None:
    with pytest.raises(InputError, match=found) as caught:
        addresses(ADDRESSES | changes)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("uncommitted", "commit", "repository", "found"),
    [
        (["models/m.yaml"], "4be1", "https://git.example/m.git", "models/m.yaml: found changes in a run with steps in"),
        ([], "", "https://git.example/m.git", "m.yaml: found changes"),
        ([], "4be1", "", "m.yaml: found no remote 'origin' for pods to clone; expected a URL"),
        ([], "4be1", "../models", "m.yaml: found '../models' for pods to clone"),
        ([], "4be1", "https://me:pw@git.example/m.git", r"m.yaml: found 'https://\*\*\*@git.example/m.git' for pods"),
    ],
)
def test_a_spec_that_pods_cannot_clone_is_refused(
    uncommitted: list[str], commit: str, repository: str, found: str
) -> None:
    with pytest.raises(InputError, match=found):
        refuse_unclonable("m.yaml", uncommitted, commit, repository)
    refuse_unclonable("m.yaml", [], "4be1", "git@git.example:m.git")


def ended(**terminated: Any) -> dict[str, Any]:
    state = {"name": "step", "image": "registry/pipeline:1", "state": {"terminated": terminated}}
    return {"phase": "Failed", "containerStatuses": [state]}


def waiting(reason: str, message: str) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "step", "image": "registry/pipeline:1", "state": state}]}


UNSCHEDULABLE = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes: 1 Insufficient cpu",
        }
    ],
}
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}


TOO_LONG = "found it without an end after 60 s; expected it to be done: give it more time (tasks.timeout_s)"


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (
            ended(exitCode=137, reason="OOMKilled"),
            ModelrailError,
            (
                "found the container 'step' killed for want of memory (its limit is 1Gi); expected it to fit: "
                "give it more "
                "memory (run.train.memory)"
            ),
        ),
        (
            waiting("ImagePullBackOff", "Back-off pulling image\nmore"),
            ModelrailError,
            (
                "found an image that cannot be pulled, registry/pipeline:1 (ImagePullBackOff: Back-off pulling image); "
                "expected an image that is in the registry (run.image; 'modelrail images build pipeline' makes "
                "it), and an "
                "account that may pull it (run.service_account)"
            ),
        ),
        (
            UNSCHEDULABLE,
            TransientError,
            (
                "found no node for it (0/1 nodes: 1 Insufficient cpu); expected one with room: lower run.train.cpu or "
                "memory, mend its node_selector or tolerations, or add a node"
            ),
        ),
        (
            EVICTED,
            TransientError,
            (
                "found it evicted from its node (The node was low on resource: memory.); expected room: say how "
                "much memory "
                "it needs (run.train.memory), so that its node has enough"
            ),
        ),
        (
            waiting("CreateContainerConfigError", 'secret "store" not found'),
            ModelrailError,
            (
                'found that its container cannot be made (CreateContainerConfigError: secret "store" not found); '
                "expected "
                "everything that it names to be there (run.secrets)"
            ),
        ),
        (
            ended(exitCode=143),
            TransientError,
            "found its process killed by signal 15; expected it to end by itself: did someone delete the pod?",
        ),
        (
            {"phase": "Failed", "reason": "Shutdown", "message": "Node is shutting down"},
            TransientError,
            "found that its node ended it (Node is shutting down); expected it to end by itself",
        ),
        ({"phase": "Failed", "reason": "DeadlineExceeded"}, ModelrailError, TOO_LONG),
        ({"phase": "Running"}, ModelrailError, TOO_LONG),
    ],
)
def test_a_failed_pod_says_which_trouble_it_was_and_what_to_do(
    status: dict[str, Any], kind: type[ModelrailError], said: str
) -> None:
    resources = {"limits": {"memory": "1Gi"}}
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "step", "resources": resources}]},
        "status": status,
    }
    error = explain_end(pod, "train", 60)
    assert (type(error), str(error)) == (kind, f"train: pod p: {said}")


@pytest.mark.parametrize(
    ("code", "kind"), [(1, ModelrailError), (2, InputError), (75, TransientError), (3, ModelrailError)]
)
def test_a_step_that_failed_in_its_pod_says_what_it_would_say_in_a_process(
    code: int, kind: type[ModelrailError]
) -> None:
    said = "train: ran\nmodelrail: train: found no row; expected one"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": []}, "status": ended(exitCode=code, message=said)}
    error = explain_end(pod, "train", 60)
    assert (type(error), str(error)) == (kind, "train: found no row; expected one")


def test_a_pod_that_is_gone_is_worth_another_try() -> None:
    assert type(explain_end(None, "train", 60)) is TransientError


@pytest.mark.parametrize(
    ("status", "kind", "found"),
    [
        (0, TransientError, "answer missing"),
        (503, TransientError, "answer 503"),
        (403, InputError, "may create, get, list, patch and delete pods"),
        (404, InputError, "the namespace 'models' (run.namespace)"),
        (422, InputError, "a pod that it accepts (run.train)"),
    ],
)
def test_a_cluster_that_refuses_a_pod_is_told_apart_from_one_that_is_away(
    status: int, kind: type[ModelrailError], found: str
) -> None:
    error = explain_refusal(status, "because", "train", "models")
    assert type(error) is kind
    assert found in str(error)


def test_pods_have_names_that_kubernetes_accepts() -> None:
    assert pod_name("A_very-Long.Name" * 9, "train") == "a-very-long-namea-very-long-na-train"
