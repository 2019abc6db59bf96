"""Workers that are pods beside the one of the step, connected over the network of pods."""

from __future__ import annotations

import secrets

from pipeline.steps.train.neural.group import Group
from pipeline.steps.train.neural.meeting import Framework, Meeting
from pipeline.steps.train.results import WorkerPods

_WORD_BYTES = 24


class Pods:
    """Pods that stay from one group to the next: who lives goes on, and who was lost is replaced by the cluster."""

    def __init__(self, framework: Framework, size: int, pods: WorkerPods) -> None:
        self._framework, self._size, self._pods = framework, size, pods
        self._meeting: Meeting | None = None

    @property
    def where(self) -> str:  # noqa: D102
        return f"{self._size} processes, {self._size - 1} of them in pods of their own"

    @property
    def threads(self) -> int | None:  # noqa: D102
        return None

    def gather(self) -> Group:  # noqa: D102
        meeting = self._meeting or self._start()
        meeting.begin()
        self._pods.wait(meeting.is_complete)
        return Group(meeting.connect())

    def _start(self) -> Meeting:
        self._meeting = self._framework.meet_at(self._pods.address, secrets.token_urlsafe(_WORD_BYTES), self._size)
        self._pods.start(self._size - 1, self._framework.module, self._meeting.place)
        return self._meeting

    def explain(self) -> str | None:  # noqa: D102
        return self._pods.explain()

    def disband(self) -> None:
        """Leave them where they are: they wait for the next group."""

    def close(self) -> None:  # noqa: D102
        if self._meeting is not None:
            self._pods.end()
            self._meeting.close()
        self._meeting = None
