"""What is done about what a look found, with a release that is live: recorded in Git, then done, once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.deploying import Slot
from pipeline.delivery.interventions import Intervention, intervene, interventions
from pipeline.delivery.platforms.local.deployments import live
from pipeline.delivery.platforms.local.state import locked
from pipeline.delivery.promotion import find_slot, promote
from pipeline.delivery.releases import releases
from pipeline.delivery.stages import assign, stages
from pipeline.errors import HeldError, InputError, TransientError
from pipeline.monitoring.account import outcomes
from pipeline.monitoring.history import KeptLook, keep_look
from pipeline.monitoring.mending import Mended, mend
from pipeline.operations.provenance.auditing import audit
from pipeline.operations.provenance.sources import open_sources
from pipeline.operations.provenance.tracing import trace
from pipeline.runs.request import RunRequest
from pipeline.runs.running import run
from pipeline.storage.artifacts import FolderStore
from pipeline.storage.git.repository import open_repository
from tests.conftest import Commit, git
from tests.monitoring.test_watching import SPEC, month

DONE = "{failures: rollback, quality: retrain, pipeline: hold, drift: alert}"
ACTIONS = f"monitoring: {{min_requests: 200, actions: {DONE}}}"
ACTING = SPEC.replace("monitoring: {min_requests: 200}", ACTIONS)


@pytest.fixture
def project_with_two(live_project: Path, commit: Commit) -> Path:
    """Release twice: v1.0.0, then v1.0.1 of more data."""
    commit({"data/2013-01.csv": month(1), "models/late.yaml": ACTING, ".gitignore": ".modelrail/\n"})
    run(RunRequest("models/late.yaml"), lambda _: None)
    commit({"data/2013-02.csv": month(2)})
    run(RunRequest("models/late.yaml"), lambda _: None)
    assert version() == "1.0.1"
    return live_project


def version() -> str:
    found = live("late", Path.cwd() / ".modelrail")
    assert found is not None
    return found.version


def slot() -> Slot:
    return find_slot(open_repository(Path.cwd()), "late", "local")


def saw(verdict: str, cause: str | None = None, at: float = 1_000.0, seen: str = "1.0.1") -> None:
    lines = (f"late v{seen} in local: {verdict}", "  4.8% of the requests failed")
    look = KeptLook(at, seen, verdict, cause, 400, 400, 300.0, lines)
    keep_look(FolderStore(Path.cwd() / ".modelrail/store"), "late", "local", look)


def acted() -> list[Intervention]:
    return interventions(open_repository(Path.cwd()), "late", "local")


def said(found: list[Mended]) -> list[str]:
    return [each.said for each in found]


def test_a_rollback_is_recorded_done_and_not_repeated(project_with_two: Path) -> None:
    saw("failures", "service")
    (done,) = mend(slot())
    assert done.said == "rollback: late#local#watch#1: late@v1.0.0 is live again (late#local#3)"
    assert version() == "1.0.0"
    (made,) = acted()
    assert (made.deed, made.release, made.evidence["signal"]) == ("rollback", "late@v1.0.1", "failures")
    assert "4.8% of the requests failed" in made.why
    last = stages(open_repository(project_with_two), "late")[-1]
    assert (last.action, last.why.partition(":")[0]) == ("rollback", made.tag)
    assert said(mend(slot())) == [
        "rollback (failures) is not done: v1.0.1 was looked at, and v1.0.0 should be live by now"
    ]
    saw("failures", "service", at=9_000.0, seen="1.0.0")  # it goes on: the release was not the cause
    assert "came by a rollback itself" in said(mend(slot()))[0]
    _, results = run(RunRequest("models/late.yaml"), lambda _: None)
    assert results[-1].facts.refusal is not None
    assert "late@v1.0.1 is held" in results[-1].facts.refusal  # by no run does it come back
    events = {each.id: each for each in audit(open_repository(project_with_two), None)}
    assert events[made.tag].action == "had rolled back"
    nodes = list(trace("late@v1.0.1", open_sources(project_with_two)).chains[0].find("intervention"))
    assert [each.name for each in nodes] == [made.tag]
    assert trace(made.tag, open_sources(project_with_two)).subject.kind == "intervention"


def test_a_hold_stops_runs_and_promotions_until_it_is_resumed(project_with_two: Path, commit: Commit) -> None:
    saw("drift", "pipeline")
    assert said(mend(slot())) == ["hold: late#local#watch#1"]
    saw("drift", "pipeline", at=9_000.0)
    assert "on hold already (late#local#watch#1)" in said(mend(slot()))[0]
    commit({"data/2013-03.csv": month(3)})
    outcome, results = run(RunRequest("models/late.yaml"), lambda _: None)
    assert (outcome, version()) == ("released", "1.0.1")  # released, and not deployed
    refusal = "local is on hold since late#local#watch#1 (pipeline in 1 window since 1970-01-01T00:11:40+00:00"
    assert refusal in str(results[-1].facts.refusal)
    with pytest.raises(HeldError, match="nothing new goes live there until 'modelrail resume late --environment local"):
        promote("late", "v1.0.2", "local", why="now")
    assert version() == "1.0.1"
    done = CliRunner().invoke(app, ["resume", "late", "--why", "the column is filled again"])
    assert done.stdout == "late in local: releases go live again (late#local#watch#2)\n"
    _, results = run(RunRequest("models/late.yaml"), lambda _: None)
    assert version() == "1.0.2"
    done = CliRunner().invoke(app, ["resume", "late", "--why", "again"])
    assert isinstance(done.exception, InputError)
    assert "found no hold of late in local" in str(done.exception)
    assert CliRunner().invoke(app, ["hold", "late", "--why", "a holiday"]).exit_code == 0
    promote("late", "v1.0.2", "local", why="what is live may be made live again")


def test_a_retrain_is_tried_once_for_the_same_data(project_with_two: Path, commit: Commit) -> None:
    saw("quality")
    assert "there are no newer data than those that it was trained on" in said(mend(slot()))[0]
    commit({"data/2013-03.csv": "id,delay,carrier,arrival\n"})  # newer data that change nothing
    (done,) = mend(slot())
    assert done.said == "retrain: late#local#watch#1: unchanged"
    saw("quality", at=9_000.0)
    assert "late#local#watch#1 was for the same data: they must change first" in said(mend(slot()))[0]
    commit({"data/2013-03.csv": month(3)})
    saw("quality", at=9_001.0)
    asked: list[tuple[Intervention, RunRequest]] = []
    cooled = slot()
    rules = cooled.spec.monitoring.model_copy(
        update={"actions": {"quality": cooled.spec.monitoring.actions["quality"].model_copy(update={"cooldown_s": 0})}}
    )
    target = cooled.target.__class__(cooled.spec.model_copy(update={"monitoring": rules}), None, cooled.target.state)
    cooled = Slot(cooled.repository, cooled.environment, target)
    found = mend(cooled, lambda made, request: asked.append((made, request)) or "started")
    assert said(found) == ["retrain: late#local#watch#2: started"]
    ((made, request),) = asked
    assert request.reason.startswith("late#local#watch#2: quality in ")
    assert made.evidence["data_commit"] == git(project_with_two, "rev-parse", "HEAD").strip()


def test_what_needs_a_persons_word_waits_for_it(project_with_two: Path) -> None:
    path = project_with_two / "models/late.yaml"
    path.write_text(ACTING.replace("failures: rollback", "failures: {do: rollback, approve: true}"))
    saw("failures", "service")
    (asked,) = mend(slot())
    assert (asked.asks, asked.said) == (True, "rollback (failures) waits for a person's approval")
    assert (acted(), version()) == ([], "1.0.1")
    mend(slot(), approve=lambda decision: "Eve" if decision.deed == "rollback" else None)
    assert ([each.who for each in acted()], version()) == (["Eve"], "1.0.0")


KILLED = """
import os, signal, sys
from pathlib import Path
import pipeline.monitoring.mending as mending
from pipeline.delivery.promotion import find_slot
from pipeline.storage.git.repository import open_repository

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{where} = die
mending.mend(find_slot(open_repository(Path.cwd()), "late", "local"))
"""


@pytest.mark.parametrize(
    "where",
    ["mending._DEEDS['rollback']", "mending.go_live", "sys.modules['pipeline.delivery.deploying']._make_live_and_ask"],
)
def test_a_killed_watcher_leaves_what_it_began_to_the_next(project_with_two: Path, where: str) -> None:
    saw("failures", "service")
    done = subprocess.run([sys.executable, "-c", KILLED.format(where=where)], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert [each.deed for each in acted()] == ["rollback"]
    assert version() == "1.0.1"
    assert said(mend(slot()))[0] == "rollback: late#local#watch#1: late@v1.0.0 is live again (late#local#3)"
    assert version() == "1.0.0"
    assert len(acted()) == 1
    assert len(stages(open_repository(project_with_two), "late")) == 3


def test_what_a_killed_watcher_began_is_left_where_a_person_decided_otherwise(project_with_two: Path) -> None:
    saw("failures", "service")
    script = KILLED.format(where="mending.go_live")
    subprocess.run([sys.executable, "-c", script], check=False, capture_output=True)
    promote("late", "v1.0.0", "local", why="by hand")
    promote("late", "v1.0.1", "local", why="it was not the release")
    assert "not done: late@v1.0.0: found that late#local#4 says" in said(mend(slot()))[0]
    assert version() == "1.0.1"
    assert "1" in outcomes(FolderStore(project_with_two / ".modelrail/store"), "late", "local")


def test_two_watchers_never_act_twice(project_with_two: Path) -> None:
    saw("drift", "data")
    release = releases(open_repository(project_with_two), "late")[-1]
    made = [
        intervene(open_repository(project_with_two), release, "local", "alert", why="", push=False, after=0)
        for _ in range(2)
    ]
    assert [each is not None for each in made] == [True, False]  # of two machines
    found: list[Any] = []

    def act() -> None:
        try:
            found.append(mend(slot()))
        except TransientError as error:
            found.append(error)

    threads = [threading.Thread(target=act) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 2
    assert len(acted()) <= 2
    with locked(project_with_two / ".modelrail/watch/late.local.lock"):
        pid = os.fork()
        if pid == 0:  # pragma: no cover - another process
            try:
                mend(slot())
            except TransientError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_watch_says_what_is_due_and_does_it_where_it_is_told_to(project_with_two: Path) -> None:
    saw("failures", "service")
    told = json.loads(CliRunner().invoke(app, ["watch", "late", "--json"]).stdout)
    assert told["actions"] == ["rollback (failures) is due ('modelrail watch late --environment local --act')"]
    assert version() == "1.0.1"
    done = CliRunner().invoke(app, ["watch", "late", "--act"])
    assert "rollback: late#local#watch#1: late@v1.0.0 is live again" in " ".join(done.stdout.split())
    assert version() == "1.0.0"


def test_diagnose_repeats_the_last_look_with_what_was_done(project_with_two: Path) -> None:
    done = CliRunner().invoke(app, ["diagnose", "late"])
    assert isinstance(done.exception, InputError)
    assert "found no look at it in local that judged; expected one (modelrail watch late)" in str(done.exception)
    saw("drift", "pipeline", at=time.time())
    mend(slot())
    told = " ".join(CliRunner().invoke(app, ["diagnose", "late"]).stdout.split())
    assert told.startswith("late v1.0.1 in local: drift 4.8% of the requests failed looked at 20")
    assert "local is on hold since late#local#watch#1" in told
    assert "hold (20" in told
    found = json.loads(CliRunner().invoke(app, ["diagnose", "late", "--json", "--html", "late.html"]).stdout)
    page = Path("late.html").read_text()
    assert "<title>late: watch</title>" in page
    assert "Nobody has looked" not in page
    assert (found["look"]["verdict"], len(found["done"])) == ("drift", 2)


def test_a_release_that_stayed_after_an_abort_can_be_traced(project_with_two: Path) -> None:
    repository = open_repository(project_with_two)
    first, second = releases(repository, "late")
    assign(repository, second, "local", action="promote", why="", push=False)
    assign(repository, first, "local", action="abort", why="it did worse", push=False)
    found = trace(first.tag, open_sources(project_with_two)).chains[0].find("stage")
    assert any(each.said.startswith("kept ") and "it did worse" in each.said for each in found)
