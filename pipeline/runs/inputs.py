"""What the work of a step may read: the job, and what the steps before it made."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pipeline.runs.job import Job
from pipeline.runs.plan.planning import Chain

T = TypeVar("T")


@dataclass(frozen=True)
class Inputs:
    """A job, and the artifacts that are there; things that several partitions need are made once."""

    job: Job
    chain: Chain
    _made: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Make a thing that several partitions need, once."""
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            made: T = self._made[name]
            return made
