"""Workers in pods of their own, connected with the step's over the network of pods."""

from __future__ import annotations

import secrets

from pipeline.steps.train.neural.group import Group
from pipeline.steps.train.neural.rendezvous import Framework, Rendezvous
from pipeline.steps.train.results import WorkerPods

_WORD_BYTES = 24


class Pods:
    """Pods that stay from one group to the next: who lives goes on, and who was lost is replaced by the cluster."""

    def __init__(self, framework: Framework, size: int, pods: WorkerPods) -> None:
        self._framework, self._size, self._pods = framework, size, pods
        self._rendezvous: Rendezvous | None = None

    @property
    def where(self) -> str:  # noqa: D102
        return f"{self._size} processes, {self._size - 1} of them in pods of their own"

    @property
    def threads(self) -> int | None:  # noqa: D102
        return None

    def gather(self) -> Group:  # noqa: D102
        rendezvous = self._rendezvous or self._start()
        rendezvous.begin()
        self._pods.wait(rendezvous.is_complete)
        return Group(rendezvous.connect())

    def _start(self) -> Rendezvous:
        self._rendezvous = self._framework.open_at(self._pods.address, secrets.token_urlsafe(_WORD_BYTES), self._size)
        self._pods.start(self._size - 1, self._framework.module, self._rendezvous.place)
        return self._rendezvous

    def explain(self) -> str | None:  # noqa: D102
        return self._pods.explain()

    def disband(self) -> None:
        """Leave them where they are: they wait for the next group."""

    def close(self) -> None:  # noqa: D102
        if self._rendezvous is not None:
            self._pods.end()
            self._rendezvous.close()
        self._rendezvous = None
