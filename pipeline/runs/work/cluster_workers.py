"""Pods in which a network's workers learn, started from the pod of the step."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pipeline.delivery.platforms.kubernetes.cluster import Cluster, open_cluster
from pipeline.delivery.platforms.kubernetes.troubles import Object
from pipeline.errors import DeploymentError, ModelrailError
from pipeline.runs.pods.worker_pods import Leader, explain_absence, explain_loss, find_leader, worker_objects
from pipeline.spec.catalogue.trainers import TRAINERS
from pipeline.spec.placement import has_worker_pods
from pipeline.spec.schema.spec import Spec

_LOOK_EACH_S = 2.0
_WAIT_S = 0.1
_HEARD_WITHIN_S = 15.0
_UNHEARD = "must be created before the TrainJob"
"""So Kubeflow Trainer refuses a TrainJob whose runtime was made a moment ago, before it has heard of it."""


def find_worker_pods(spec: Spec) -> ClusterPods | None:
    """Find the pods in which workers of this step may be started; None where they are processes of the same machine.

    A run on the command line is in no pod, so everything of it is on its machine, whatever ``run`` says.
    """
    leader = find_leader(os.environ)
    if leader is None or not has_worker_pods(spec):
        return None
    return ClusterPods(spec, leader, open_cluster(None, spec.run.namespace))


class ClusterPods:
    """`WorkerPods` of a cluster."""

    def __init__(self, spec: Spec, leader: Leader, cluster: Cluster) -> None:
        self._spec, self._leader, self._cluster = spec, leader, cluster
        self._extra = str(TRAINERS[str(spec.model.trainer)].extra)
        self._made: list[Object] = []
        self._groups = 0

    @property
    def address(self) -> str:  # noqa: D102
        return self._leader.address

    def start(self, count: int, module: str, place: str) -> None:  # noqa: D102
        words, self._groups = ["-m", module, place, "INDEX", str(count + 1), "ADDRESS"], self._groups + 1
        for each in worker_objects(self._spec, self._leader, words, count, self._groups, self._cluster.apis()):
            self._create(each)
            self._made.append(each)

    def _create(self, made: Object) -> None:
        deadline = time.monotonic() + _HEARD_WITHIN_S
        while True:
            try:
                self._cluster.create(made)
            except DeploymentError as error:
                if _UNHEARD not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_WAIT_S)
            else:
                return

    def wait(self, until: Callable[[], bool]) -> None:  # noqa: D102
        begun = looked = time.monotonic()
        while not until():
            now = time.monotonic()
            if now - looked > _LOOK_EACH_S:
                looked = now
                error = self._explain_absence(now - begun)
                if error is not None:
                    raise error
            time.sleep(_WAIT_S)

    def _explain_absence(self, waited_s: float) -> ModelrailError | None:
        limit_s = self._spec.run.start_timeout_s
        return explain_absence(self._pods(), self._started(), waited_s, limit_s, self._extra)

    def explain(self) -> str:  # noqa: D102
        return explain_loss(self._pods())

    def _pods(self) -> list[Object]:
        return [*self._cluster.list("v1", "Pod", self._leader.mark)]

    def _started(self) -> Object | None:
        """Read the object that makes the pods as it is now; it was made last."""
        last = self._made[-1]
        return self._cluster.get(last["apiVersion"], last["kind"], last["metadata"]["name"])

    def end(self) -> None:  # noqa: D102
        for each in reversed(self._made):
            self._cluster.delete(each["apiVersion"], each["kind"], each["metadata"]["name"])
        self._made = []
