"""Every data commit exactly once: ``python -m benchmarks.data_commits [--commits 200] [--kills 20]``.

An Airflow of its own (scheduler, triggerer and all, on this machine) watches a small data repository. Commits come
while its scheduler, its triggerer and the tasks that dispatch are killed (SIGKILL) and started again, the repository is
out of reach for a while and its history is rewritten once. In the end the runs of the model are counted: one a commit,
none lost, none double. Then a thousand commits arrive at once. The model's DAG is paused, so its runs stay queued: this
measures what starts them.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measuring import say_machine
from benchmarks.project import call, commit
from pipeline.orchestration.services import Airflow, Services, down, up

SPEC = """\
model: {name: line, trainer: ridge, task: regression, target: y}
data: {repository: ../data, files: "data/{month}.csv", columns: {x: float, y: float}}
schedule: {on_data_commit: every}
"""
_TASK = re.compile(r"airflow worker -- [0-9a-f-]{36}\s*")  # the title that Airflow gives the process of a task
VICTIMS = ("airflow-scheduler", "airflow-triggerer", "task")


class Scene:
    """A project, its data, and an Airflow whose parts can be killed."""

    def __init__(self, folder: Path) -> None:
        self.data, self.project = folder / "data", folder / "project"
        (self.project / "models").mkdir(parents=True)
        (self.data / "data").mkdir(parents=True)
        (self.project / "models" / "line.yaml").write_text(SPEC)
        self.number = 0
        self.pushed: dict[str, float] = {}
        commit(self.project, "A spec", initial=True)
        call("git", "-C", self.data, "init", "--quiet", "--initial-branch", "main")
        self.push()
        self.state = self.project / ".modelrail"
        self.services = up(self.state, self.project / "models")
        self.airflow = _client(self.services)
        self.parts = {each.name: psutil.Process(each.pid) for each in self.services.services}

    def push(self) -> str:
        """Commit a change of a partition."""
        self.number += 1
        (self.data / "data" / f"2013-{self.number % 12 + 1:02d}.csv").write_text(f"x,y\n{self.number},1\n")
        commit(self.data, f"change {self.number}")
        made = self.git("rev-parse", "HEAD")
        self.pushed[made] = time.time()
        return made

    def git(self, *arguments: str) -> str:
        """Run git in the data repository."""
        done = subprocess.run(["git", "-C", self.data, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def runs(self) -> list[dict[str, Any]]:
        """List the runs that data commits have started, in the order in which they were."""
        found: list[dict[str, Any]] = []
        while True:
            params = {"limit": 100, "offset": len(found), "order_by": "run_after"}
            page = self.airflow.request("GET", "/api/v2/dags/line/dagRuns", params=params)
            found += page["dag_runs"]
            if not page["dag_runs"] or len(found) >= page["total_entries"]:
                return [each for each in found if each["dag_run_id"].startswith("data__")]

    def wait(self, enough: Callable[[], bool], seconds: float) -> bool:
        """Wait for something to be so; tell whether it came to be."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if enough():
                return True
            time.sleep(0.5)
        return False

    def kill(self, victim: str) -> bool:
        """Kill a part with all that it started, and start it again as it was; or only a task that dispatches."""
        if victim == "task":
            return self._kill_task()
        process = self.parts[victim]
        command, environment, folder = process.cmdline(), process.environ(), process.cwd()
        for each in [*process.children(recursive=True), process]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(10)
        time.sleep(random.uniform(0, 3))  # noqa: S311 - how long it is away
        log = (self.state / "logs" / f"{victim}.log").open("ab")
        again = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
        )
        self.parts[victim] = psutil.Process(again.pid)
        return True

    def _kill_task(self) -> bool:
        """Wait for a task that dispatches, let it work for a moment, and kill it; again if it was done by then."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.push()
            if (task := self._find_task(deadline)) is None:
                return False
            time.sleep(random.uniform(0, 0.3))  # noqa: S311 - where in its work it dies
            with suppress(psutil.NoSuchProcess):
                if task.status() != psutil.STATUS_ZOMBIE:
                    task.kill()
                    return True
        return False

    def _find_task(self, deadline: float) -> psutil.Process | None:
        """Look for the process of a task; the model's DAG is paused, so it is one that dispatches."""
        while time.monotonic() < deadline:
            for each in self.parts["airflow-scheduler"].children(recursive=True):
                if _TASK.fullmatch(_title(each)):
                    return each
            time.sleep(0.005)
        return None

    def tries(self) -> int:
        """Count the tries of dispatching tasks beyond the first: what the kills of tasks have cost."""
        found, offset = 0, 0
        while True:
            params = {"limit": 100, "offset": offset}
            page = self.airflow.request("GET", "/api/v2/dags/data_commits/dagRuns/~/taskInstances", params=params)
            found += sum(max(0, each["try_number"] - 1) for each in page["task_instances"])
            offset += 100
            if offset >= page["total_entries"]:
                return int(found)


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _client(services: Services) -> Airflow:
    return Airflow(services.airflow_url, services.login.user, services.login.password)


def torment(scene: Scene, commits: int, kills: int) -> Counter[str]:
    """Push and kill, in a random order; once the repository is away, once its history is rewritten."""
    killed: Counter[str] = Counter()
    faults = [VICTIMS[each % len(VICTIMS)] for each in range(kills)]
    random.shuffle(faults)
    every = max(1, commits // max(1, len(faults)))
    while len(scene.pushed) < commits + 1:
        scene.push()
        time.sleep(random.choice([0.05, 0.05, 0.05, 1.5]))  # noqa: S311 - bursts and pauses
        if faults and len(scene.pushed) % every == 0:
            victim = faults.pop()
            killed[victim if scene.kill(victim) else f"{victim} (none found)"] += 1
            print(f"  {len(scene.pushed)} commits, {sum(killed.values())} kills", flush=True)
        if len(scene.pushed) == commits // 2:
            away = scene.data.rename(scene.data.with_name("away"))
            time.sleep(8)
            away.rename(scene.data)
    return killed


def rewrite(scene: Scene) -> str:
    """Force the newest commits away and bring their content back under other ids, with one that is new."""
    tree = scene.git("rev-parse", "HEAD^{tree}")
    scene.git("reset", "--quiet", "--hard", "HEAD~3")
    who = ("-c", "user.name=B", "-c", "user.email=b@localhost")
    squashed = scene.git(*who, "commit-tree", "-p", "HEAD", "-m", "three in one", tree)
    scene.git("reset", "--quiet", "--hard", squashed)
    return scene.push()


def count(scene: Scene, wanted: Sequence[str]) -> tuple[int, int, int]:
    """Count lost, double and out of order."""
    ran = [each["dag_run_id"].removeprefix("data__") for each in scene.runs()]
    contents = Counter(ran)
    places = [ran.index(each) for each in wanted if each in contents]
    disorder = sum(one > other for one, other in pairwise(places))
    return len(set(wanted) - set(ran)), sum(contents.values()) - len(contents) + len(set(ran) - set(wanted)), disorder


def has_run(scene: Scene, commit: str) -> bool:
    return any(each["dag_run_id"].endswith(commit) for each in scene.runs())


def measure_latency(scene: Scene, pushes: int) -> list[float]:
    """Return the seconds from a push to its queued run, one push at a time."""
    found = []
    for _ in range(pushes):
        made = scene.push()
        scene.wait(partial(has_run, scene, made), 60)
        run = next(each for each in scene.runs() if each["dag_run_id"].endswith(made))
        found.append(datetime.fromisoformat(run["queued_at"]).timestamp() - scene.pushed[made])
        time.sleep(random.uniform(0.5, 2))  # noqa: S311 - not in step with the trigger
    return found


def burst(scene: Scene, commits: int) -> tuple[float, Mapping[str, Any]]:
    """Let many commits arrive at once; give the seconds until all have a run, and what the dispatching task took."""
    before = len(scene.runs())
    stream = ["reset refs/heads/incoming\nfrom refs/heads/main^0\n\n"]
    for number in range(commits):
        text = f"x,y\n{number},2\n"
        stream.append(f"commit refs/heads/incoming\ncommitter B <b@l> {1700000000 + number} +0000\ndata 1\nx\n")
        stream.append(f"M 100644 inline data/2013-{number % 12 + 1:02d}.csv\ndata {len(text)}\n{text}\n")
    importing = ["git", "-C", str(scene.data), "fast-import", "--quiet"]
    subprocess.run(importing, input="".join(stream).encode(), check=True)
    began = time.time()
    scene.git("reset", "--quiet", "--hard", "incoming")

    def total() -> int:
        return int(scene.airflow.request("GET", "/api/v2/dags/line/dagRuns", params={"limit": 1})["total_entries"])

    scene.wait(lambda: total() >= before + commits, 300)
    return time.time() - began, {"runs": len(scene.runs()) - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--burst", type=int, nargs="*", default=[250, 500, 1000])
    parser.add_argument("--latencies", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    say_machine()
    with tempfile.TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        try:
            scene.wait(lambda: len(scene.runs()) == 1, 120)
            scene.airflow.request("PATCH", "/api/v2/dags/line", json={"is_paused": True})
            told = measure_latency(scene, given.latencies)
            print(f"from a push to a queued run: median {statistics.median(told):.2f} s, longest {max(told):.2f} s")
            killed = torment(scene, given.commits + given.latencies, given.kills)
            print(f"killed: {json.dumps(killed)}; tries of dispatching tasks beyond the first: {scene.tries()}")
            settled = scene.wait(lambda: len(scene.runs()) >= len(scene.pushed), 420)
            rewrite(scene)
            scene.wait(lambda: len(scene.runs()) >= len(scene.pushed), 60)
            lost, double, disorder = count(scene, list(scene.pushed))
            print(
                f"{len(scene.pushed)} commits, settled {settled}: {lost} lost, {double} double, {disorder} out of order"
            )
            for size in given.burst:
                seconds, facts = burst(scene, size)
                print(
                    f"{size} commits at once: {facts['runs']} runs, {seconds:.1f} s, {1e3 * seconds / size:.1f} ms each"
                )
        finally:
            down(scene.state)


if __name__ == "__main__":
    main()
