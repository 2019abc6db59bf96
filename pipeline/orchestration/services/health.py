"""How often a run is polled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.orchestration.services.rest_client import TaskInstance

ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States that a task stays in."""
_PAUSES_S = (0.5, 1.0)
"""Between two looks: the first while something happens, growing to the second. The server that answers is busy enough
with the tasks' own calls."""
_ENDING_S = 0.1
"""Between two looks when all tasks have ended, and the run is about to."""
_UNSURE = 5
"""Looks without a change after which the run is asked although tasks are open: it may have been given up."""


@dataclass
class Looks:
    """How often to poll a run: less often while nothing happens, to leave the server's processor to the tasks."""

    seen: tuple[tuple[str, int, str | None], ...] = ()
    same: int = 0
    ended: bool = False
    pause_s: float = _PAUSES_S[0]

    def note(self, tasks: Sequence[TaskInstance]) -> None:
        """Take in what a look has found."""
        found = tuple((task.task_id, task.map_index, task.state) for task in tasks)
        self.same = self.same + 1 if found == self.seen else 0
        self.seen = found
        self.ended = bool(tasks) and all(task.state in ENDED for task in tasks)
        growing = min(self.pause_s * 1.2, _PAUSES_S[1]) if self.same else _PAUSES_S[0]
        self.pause_s = _ENDING_S if self.ended else growing

    @property
    def may_be_over(self) -> bool:
        """Tell whether the run itself must be asked for: all tasks have ended, or nothing has happened for long."""
        return self.ended or self.same >= _UNSURE
