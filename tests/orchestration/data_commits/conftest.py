"""A project with data, and an Airflow in memory that can die at any call."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.orchestration.data_commits.dispatching import Mark, Report, Requested, Started, dispatch
from pipeline.orchestration.data_commits.replaying import Replay
from pipeline.orchestration.data_commits.sources import find_watched
from tests.conftest import git

SPEC = """
model: {{name: {name}, trainer: ridge, target: y}}
data: {{repository: '{repository}', files: "data/{{month}}.csv", columns: {{x: float, y: float}}}}
schedule: {schedule}
"""


class Killed(Exception):  # noqa: N818
    """The process died here."""


class MemoryRuns:
    """What Airflow keeps: runs by their identifiers, marks, backfills."""

    def __init__(self) -> None:
        self.marks: dict[str, Mark] = {}
        self.runs: dict[str, dict[str, Mapping[str, Any]]] = {}
        self.replays: list[Replay] = []
        self.busy = False
        self.known = True
        self.calls = 0
        self.die_at: int | None = None

    def _call(self) -> None:
        self.calls += 1
        if self.calls == self.die_at:
            raise Killed

    def recall(self, model: str) -> Mark | None:
        self._call()
        return self.marks.get(model)

    def remember(self, model: str, mark: Mark) -> None:
        self._call()
        self.marks[model] = Mark.from_json(mark.to_json())
        self._call()

    def existing(self, model: str, run_ids: Sequence[str]) -> Collection[str]:
        self._call()
        return self.runs.get(model, {}).keys() & set(run_ids)

    def start(self, model: str, run_id: str, conf: Mapping[str, Any]) -> Started:
        self._call()
        if not self.known:
            return "unknown"
        if run_id in self.runs.setdefault(model, {}):
            return "exists"
        self.runs[model][run_id] = conf
        self._call()
        return "started"

    def replay(self, _model: str, replay: Replay) -> Requested:
        self._call()
        if any(each.commit == replay.commit for each in self.replays):
            return "exists"
        if self.busy:
            return "busy"
        self.replays.append(replay)
        self._call()
        return "created"

    def started(self, model: str = "m") -> list[str]:
        """Return the commits that were run, in order."""
        return [str(conf["data_commit"]) for conf in self.runs.get(model, {}).values()]


class Data:
    """A data repository beside a project whose specs watch it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.models = folder / "flights", folder / "project" / "models"
        self.models.mkdir(parents=True)
        self.folder.mkdir()
        git(folder / "project", "init", "-q", "-b", "main")
        git(self.folder, "init", "-q", "-b", "main")
        self.runs = MemoryRuns()
        self.address = str(self.folder)

    def spec(self, schedule: str, name: str = "m") -> None:
        text = SPEC.format(name=name, repository=self.address, schedule=schedule)
        (self.models / f"{name}.yaml").write_text(text)

    def commit(self, files: Mapping[str, str | None] | None = None, subject: str = "change") -> str:
        for path, content in (files or {}).items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                target.unlink()
            else:
                target.write_text(content)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def month(self, number: int, text: str = "1,2\n") -> str:
        return self.commit({f"data/2013-{number:02d}.csv": f"x,y\n{text}"}, f"month {number}")

    def git(self, *arguments: str) -> str:
        return git(self.folder, *arguments).strip()

    def dispatch(self) -> list[Report]:
        return dispatch(find_watched(self.models), self.runs)

    def lines(self) -> str:
        return "\n".join(line for report in self.dispatch() for line in report.lines)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)
