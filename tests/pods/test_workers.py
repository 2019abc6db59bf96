"""A network learnt in several pods of a real cluster; PyTorch, 4 GB, is lent by this machine instead of an image."""

from __future__ import annotations

import json
import os
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.deployment.access import trainer
from pipeline.deployment.cluster import Cluster, open_cluster
from pipeline.pods import manifest
from pipeline.spec.loading import load_spec
from pipeline.spec.schema import Spec
from pipeline.training.results import Support
from pipeline.training.training import train
from pipeline.work.crews import ClusterPods
from pipeline.worker_pods import Leader
from tests.training.test_workers import TOLERANCE, predict, wave

from .cluster import HOW, Namespace, is_here, namespace, poll

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.extra("torch"),
    pytest.mark.extra("kubernetes"),
    pytest.mark.skipif(not is_here(), reason=HOW),
]
IMAGE = os.environ.get("MODELRAIL_PIPELINE_IMAGE")
SPEC = """\
model:
  name: wave
  trainer: torch_mlp
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
import json, pathlib, sys, time
import numpy as np
from pipeline.deployment import cluster
from pipeline.graphs import run
from pipeline.spec.loading import load_spec
from pipeline.training.results import Matrix, Support
from pipeline.training.training import train
from pipeline.work import crews

text, lent = json.loads(sys.argv[1])
create = cluster.Cluster.create

def lend(self, manifest):
    if manifest["kind"] == "Job":
        pod = manifest["spec"]["template"]["spec"]
        pod["volumes"] = [*pod["volumes"], lent["volume"]]
        (container,) = pod["containers"]
        container["volumeMounts"].append(lent["mount"])
        container["env"].append(lent["variable"])
    return create(self, manifest)

cluster.Cluster.create = lend
pathlib.Path("/work/spec.yaml").write_text(text)
spec = load_spec("/work/spec.yaml").spec
pods = crews.find_worker_pods(spec)
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
WAITING = "import time; time.sleep(600)"
LENT = {
    "volume": {"name": "lent", "hostPath": {"path": sysconfig.get_path("purelib")}},
    "mount": {"name": "lent", "mountPath": "/lent", "readOnly": True},
    "variable": {"name": "PYTHONPATH", "value": "/app/site:/app:/lent"},
}


def lend(pod: dict[str, Any]) -> None:
    """Let a pod find this machine's libraries."""
    pod["volumes"].append(LENT["volume"])
    pod["containers"][0]["volumeMounts"].append(LENT["mount"])
    pod["containers"][0]["env"].append(LENT["variable"])


class Lending(Cluster):
    """A cluster whose Jobs find this machine's libraries."""

    def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        copied = json.loads(json.dumps(manifest))
        if copied["kind"] == "Job":
            lend(copied["spec"]["template"]["spec"])
        return super().create(copied)


@dataclass(frozen=True)
class World:
    """A namespace with the account that trains, and the pod of a step that waits there."""

    namespace: Namespace
    spec: Spec
    pods: ClusterPods

    def workers(self) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self.namespace.pods()
            if pod["metadata"]["labels"]["app.kubernetes.io/component"] == "train-worker"
        ]

    def lose_a_worker(self) -> str:
        """Delete the pod of a worker, and wait until it is gone."""
        (running,) = [pod for pod in self.workers() if pod["status"]["phase"] == "Running"]
        name = str(running["metadata"]["name"])
        self.namespace.kubectl("delete", "pod", name, "--wait=true")
        return name

    def left(self) -> list[str]:
        return self.namespace.kubectl("get", "jobs,networkpolicies", "--output", "name").split()


def spec_of(folder: Path, namespace: str, workers: int) -> Spec:
    (folder / "spec.yaml").write_text(SPEC.format(image=IMAGE, namespace=namespace, workers=workers))
    return load_spec(folder / "spec.yaml").spec


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[World]:
    with namespace(level="privileged") as own:  # for the libraries that this machine lends
        spec = spec_of(tmp_path, own.name, 3)
        rights = {"apiVersion": "v1", "kind": "List", "items": trainer(own.name)}
        own.kubectl("apply", "--filename", "-", stdin=json.dumps(rights))
        step = manifest(spec, "train", [], {})
        lend(step["spec"])
        step["spec"]["containers"][0] |= {
            "command": ["python", "-P", "-c", getattr(request, "param", WAITING)],
            "args": [json.dumps([SPEC.format(image=IMAGE, namespace=own.name, workers=2), LENT])],
        }
        made = json.loads(own.kubectl("create", "--output", "json", "--filename", "-", stdin=json.dumps(step)))
        config = YAML(typ="safe").load(Path(os.environ["KUBECONFIG"]).read_text())
        config["users"][0]["user"] = {"token": own.kubectl("create", "token", "modelrail-trainer").strip()}
        (tmp_path / "trainer.json").write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "trainer.json"))
        with open_cluster(None, own.name) as opened, Lending(opened._settings, own.name) as cluster:
            leader = Leader(made["metadata"]["name"], made["metadata"]["uid"], os.environ["NODE_ADDRESS"])
            monkeypatch.undo()
            yield World(own, spec, ClusterPods(spec, leader, cluster))


def teach(spec: Spec, pods: ClusterPods | None = None) -> Any:
    return train(wave(), spec.model, "regression", support=Support(pods=pods))


def test_pods_learn_what_processes_learn_and_a_lost_one_is_replaced(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.training.neural.torch_workers import SharedNetwork

    lost, epochs, dealt = list[str](), list[int](), SharedNetwork._dealt

    def deal(self: Any, group: Any, pieces: Any) -> Any:
        epochs.append(1)
        for shard in dealt(self, group, pieces):
            if len(epochs) == 3:
                lost.append(world.lose_a_worker())
            yield shard

    spec = spec_of(tmp_path, world.namespace.name, 2)
    here, undisturbed = teach(spec), teach(spec, world.pods)
    monkeypatch.setattr(SharedNetwork, "_dealt", deal)
    disturbed = teach(spec, world.pods)
    matrix = wave()
    assert np.abs(predict(here, matrix) - predict(undisturbed, matrix)).max() < TOLERANCE
    assert predict(disturbed, matrix).tobytes() == predict(undisturbed, matrix).tobytes()
    assert disturbed.history == undisturbed.history
    assert len(lost) == 1
    assert "learnt by 2 processes, 1 of them in pods of their own" in undisturbed.notes
    assert "workers were lost 1 times, and started anew" in disturbed.notes
    assert world.left() == []


@pytest.mark.parametrize("world", [IN_THE_POD], indirect=True, ids=["in-the-pod"])
def test_a_step_in_its_pod_learns_with_others_which_go_with_it_however_it_ends(world: World, tmp_path: Path) -> None:
    for _ in poll(180):
        said = world.namespace.kubectl("logs", "wave-train", "--ignore-errors")
        if last := [line for line in said.splitlines() if line.startswith("[[")]:
            break
    assert last, said
    found, notes = json.loads(last[0])
    here = predict(teach(spec_of(tmp_path, world.namespace.name, 2)), wave())
    assert np.abs(np.asarray(found) - here.ravel()).max() < TOLERANCE
    assert "learnt by 2 processes, 1 of them in pods of their own" in notes
    assert len(world.left()) == 2  # those of a second group, which nobody has removed
    world.namespace.kubectl("delete", "pod", "wave-train", "--now")
    for _ in poll(60):
        if not world.left() and not world.workers():
            return
    raise AssertionError(f"left: {world.left()}, {world.workers()}")
