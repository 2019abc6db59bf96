"""A network learnt in several pods of a real cluster, with the framework in their image or lent by this machine."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.delivery.platforms.kubernetes.cluster import Cluster, open_cluster
from pipeline.errors import DeploymentError, TransientError
from pipeline.runs.pods.step_pod import manifest
from pipeline.runs.pods.worker_pods import KUBEFLOW, Leader
from pipeline.runs.work.cluster_workers import ClusterPods
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.spec import Spec
from pipeline.steps.train.results import Support
from pipeline.steps.train.training import train
from tests.steps.train.test_workers import TOLERANCE, predict, wave

from .admission import asked, inside, with_framework
from .cluster import HOW, Namespace, is_here, poll

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not is_here(), reason=HOW),
]
SPEC = """\
model:
  name: waves-of-four-random-numbers-x
  trainer: {trainer}
  task: regression
  target: y
  seed: 3
  params: {{layers: [16], epochs: 8, learning_rate: 0.01, workers: {workers}}}
data: {{files: "data/{{part}}.csv", columns: {{a: float, b: float, c: float, d: float, y: float}}}}
run:
  train: {{where: pod, cpu: 0.1, memory: 1Gi}}
  workers: pod
  trainer: modelrail-trainer
  image: {image}
  namespace: {namespace}
"""
IN_THE_POD = """\
import json, pathlib, sys, tempfile, time
import numpy as np
from pipeline.delivery.platforms.kubernetes import cluster
from pipeline.model.graphs import run
from pipeline.spec.loading.loading import load_spec
from pipeline.steps.train.results import Matrix, Support
from pipeline.steps.train.training import train
from pipeline.runs.work import cluster_workers

text, apis = json.loads(sys.argv[1])
cluster.Cluster.apis = lambda self: frozenset(apis)
path = pathlib.Path(tempfile.mkdtemp(), "spec.yaml")
path.write_text(text)
spec = load_spec(path).spec
pods = cluster_workers.find_worker_pods(spec)
drawn = np.random.default_rng(0)
x = drawn.normal(size=(403, 4)).astype(np.float32)
y = (np.sin(x[:, 0]) + x[:, 1] * x[:, 2]).astype(np.float64)
matrix = Matrix(x[:363], y[:363], x[363:], y[363:], tuple("abcd"))
trained = train(matrix, spec.model, "regression", support=Support(pods=pods))
found = run(trained.estimator_graph, {"matrix": matrix.validation})["prediction"]
pods.start(2, "json.tool", "--help")
print(json.dumps([found.ravel().tolist(), trained.notes]), flush=True)
time.sleep(600)
"""
"""What the step does, beside its own reading and writing: it starts pods by its own token, and learns with them."""
STEP = "waves-of-four-random-numbers-x-train-bxa1c2d9"
"""The step's pod, with as long a name as Airflow gives one."""
WAITING = "import time; time.sleep(600)"
NO_TRAINER = "no Kubeflow Trainer: install it, with JobSet, in the cluster that KUBECONFIG names (docs/networks.md)"
KINDS = {"Job": ("jobs",), "TrainJob": ("trainjobs", "trainingruntimes", "jobsets", "jobs", "services")}
"""What starts workers → kinds of all objects that there are for them, beside a network policy."""
ORPHAN = {
    "apiVersion": KUBEFLOW,
    "kind": "TrainJob",
    "metadata": {"name": "orphan"},
    "spec": {"runtimeRef": {"apiGroup": "trainer.kubeflow.org", "kind": "TrainingRuntime", "name": "no-such-runtime"}},
}
"""What Kubeflow Trainer's controller refuses, if there is one."""


def has_trainer() -> bool:
    command = ["kubectl", "create", "--dry-run=server", "--filename", "-"]
    done = subprocess.run(command, input=json.dumps(ORPHAN), capture_output=True, text=True, check=False)
    return "denied the request" in done.stderr


class Choosing(Cluster):
    """A cluster that has Kubeflow Trainer, or has not, whatever is there; and whose workers are replaced so often."""

    apis_: frozenset[str] = frozenset()
    replacements: int | None = None

    def apis(self) -> frozenset[str]:
        return self.apis_

    def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        copied = json.loads(json.dumps(manifest))
        if self.replacements is not None and copied["kind"] in {"Job", "TrainingRuntime"}:
            job_of(copied)["backoffLimitPerIndex"] = self.replacements
        return super().create(copied)


def job_of(made: dict[str, Any]) -> Any:
    """Return the specification of the Job that there will be."""
    spec = made["spec"]
    return spec if made["kind"] == "Job" else spec["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]


@dataclass(frozen=True)
class World:
    """A namespace with the account that trains, and the pod of a step that waits there.

    Attributes
    ----------
    texts : mapping
        Number of workers → spec.
    """

    namespace: Namespace
    texts: Mapping[int, str]
    pods: ClusterPods
    cluster: Choosing
    kind: str

    def workers(self) -> list[dict[str, Any]]:
        return self.namespace.pods_of("train-worker")

    def lose_a_worker(self) -> str:
        """Delete the pod of a worker, and wait until it is gone."""
        name, *_ = (
            pod["metadata"]["name"]
            for pod in self.workers()
            if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in pod["metadata"]
        )
        self.namespace.kubectl("delete", "pod", name, "--wait=true")
        return str(name)

    def left(self) -> list[str]:
        kinds = ",".join(("networkpolicies", *KINDS[self.kind]))
        return self.namespace.kubectl("get", kinds, "--output", "name").split()

    def wait_until_nothing_is_left(self) -> None:
        for _ in poll(60):
            if not self.left() and not self.workers():
                return
        raise AssertionError(f"left: {self.left()}, {self.workers()}")


def spec_of(folder: Path, text: str) -> Spec:
    (folder / "spec.yaml").write_text(text)
    return load_spec(folder / "spec.yaml").spec


@pytest.fixture
def framework() -> str:
    return "torch"


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "TrainJob" and not has_trainer():
        pytest.skip(NO_TRAINER)
    return str(request.param)


@pytest.fixture
def world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, framework: str, request: pytest.FixtureRequest
) -> Iterator[World]:
    apis = frozenset({KUBEFLOW} if kind == "TrainJob" else ())
    with with_framework(framework, tmp_path) as (own, image):
        texts = {
            count: SPEC.format(image=image, namespace=own.name, workers=count, trainer=f"{framework}_mlp")
            for count in (1, 2, 3)
        }
        spec = spec_of(tmp_path, texts[3])
        own.admit_trainer()
        step = manifest(spec, "train", [], {})
        step["metadata"]["name"] = STEP
        step["spec"]["containers"][0] |= {
            "command": ["python", "-P", "-c", getattr(request, "param", WAITING)],
            "args": [json.dumps([texts[2], [*apis]])],
        }
        made = json.loads(own.kubectl("create", "--output", "json", "--filename", "-", stdin=json.dumps(step)))
        config = YAML(typ="safe").load(Path(os.environ["KUBECONFIG"]).read_text())
        config["users"][0]["user"] = {"token": own.kubectl("create", "token", "modelrail-trainer").strip()}
        (tmp_path / "trainer.json").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "trainer.json"))
        with open_cluster(None, own.name) as opened, Choosing(opened._settings, own.name) as cluster:
            leader = Leader(made["metadata"]["name"], made["metadata"]["uid"], os.environ["NODE_ADDRESS"])
            monkeypatch.undo()
            cluster.apis_ = apis
            yield World(own, texts, ClusterPods(spec, leader, cluster), cluster, kind)


def teach(spec: Spec, pods: ClusterPods | None = None) -> Any:
    return train(wave(), spec.model, "regression", support=Support(pods=pods))


@pytest.mark.parametrize(
    ("kind", "framework", "workers"),
    [
        pytest.param("TrainJob", "torch", 2, marks=pytest.mark.extra("torch")),
        pytest.param("Job", "torch", 3, marks=pytest.mark.extra("torch")),
        pytest.param("Job", "tensorflow", 3, marks=pytest.mark.extra("tensorflow")),
        pytest.param("Job", "torch", 2, marks=inside("torch")),
        pytest.param("Job", "tensorflow", 2, marks=inside("tensorflow")),
    ],
    indirect=["kind"],
)
def test_pods_learn_what_one_process_learns_and_a_lost_one_is_replaced(
    workers: int, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.steps.train.neural.workers import SharedNetwork

    lost, epochs, dealt = list[str](), list[int](), SharedNetwork._dealt

    def deal(self: Any, group: Any, pieces: Any) -> Any:
        epochs.append(1)
        for shard in dealt(self, group, pieces):
            if len(epochs) == 3:
                lost.append(world.lose_a_worker())
            yield shard

    alone, spec = (spec_of(tmp_path, world.texts[count]) for count in (1, workers))
    here, undisturbed = teach(alone), teach(spec, world.pods)
    monkeypatch.setattr(SharedNetwork, "_dealt", deal)
    disturbed = teach(spec, world.pods)
    matrix = wave()
    assert np.abs(predict(here, matrix) - predict(undisturbed, matrix)).max() < TOLERANCE
    assert predict(disturbed, matrix).tobytes() == predict(undisturbed, matrix).tobytes()
    assert disturbed.history == undisturbed.history
    assert len(lost) == 1
    assert f"learnt by {workers} processes, {workers - 1} of them in pods of their own" in undisturbed.notes
    assert "workers were lost 1 times, and started anew" in disturbed.notes
    world.wait_until_nothing_is_left()


@pytest.mark.parametrize("world", [IN_THE_POD], indirect=True, ids=["in-the-pod"])
@pytest.mark.parametrize(
    "framework",
    [pytest.param("torch", marks=pytest.mark.extra("torch")), pytest.param("tensorflow", marks=inside("tensorflow"))],
)
def test_a_step_in_its_pod_learns_with_others_which_go_with_it_however_it_ends(world: World, tmp_path: Path) -> None:
    for _ in poll(180):
        said = world.namespace.kubectl("logs", STEP, "--ignore-errors")
        if last := [line for line in said.splitlines() if line.startswith("[[")]:
            break
    assert last, said
    found, notes = json.loads(last[0])
    here = predict(teach(spec_of(tmp_path, world.texts[2])), wave())
    assert np.abs(np.asarray(found) - here.ravel()).max() < TOLERANCE
    assert "learnt by 2 processes, 1 of them in pods of their own" in notes
    for _ in poll(60):  # those of a second group, which nobody has removed
        left = world.left()
        if all(any(each.startswith(kind[:-1]) for each in left) for kind in KINDS[world.kind]):
            break
    else:
        raise AssertionError(f"missing: {left}")
    world.namespace.kubectl("delete", "pod", STEP, "--now")
    world.wait_until_nothing_is_left()


@pytest.mark.parametrize(
    ("module", "said"), [("json.tool", "found that it was done ("), ("no_such_module", "found that it failed (")]
)
def test_workers_whose_job_ended_are_not_waited_for(world: World, module: str, said: str) -> None:
    world.cluster.replacements = 0
    world.pods.start(1, module, "--help")
    with pytest.raises(TransientError) as ended:
        world.pods.wait(lambda: False)
    world.pods.end()
    assert f"-train-bxa1c2d9-workers-1: {said}" in str(ended.value)
    world.wait_until_nothing_is_left()


LATE = 'TrainingRuntime "x" not found: specified trainingRuntime must be created before the TrainJob is created'


@pytest.mark.parametrize("kind", ["Job"], indirect=True)
def test_what_a_webhook_has_not_heard_of_yet_is_offered_again_and_else_its_words_are_told(
    world: World, tmp_path: Path
) -> None:
    words = [LATE, LATE, "too many"]

    def deny(_: dict[str, Any]) -> dict[str, Any]:
        if not words:
            return {"allowed": True}
        return {"allowed": False, "status": {"code": 403, "message": words.pop(0)}}

    with asked(world.namespace, "batch", "jobs", deny, tmp_path):
        with pytest.raises(DeploymentError, match=r"the request: too many; expected an object that it accepts"):
            world.pods.start(1, "json.tool", "--help")
        assert words == []
        world.pods.start(1, "json.tool", "--help")
    world.pods.end()
    world.wait_until_nothing_is_left()
