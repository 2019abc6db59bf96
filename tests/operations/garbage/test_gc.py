"""What goes from the store and what stays, on real repositories and stores, with runs and removals side by side."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.delivery.platforms.local.deployments import stop_all
from pipeline.delivery.promotion import rollback
from pipeline.errors import InputError, ModelrailError, StoreError
from pipeline.home import CHECKOUT
from pipeline.operations.garbage.deciding import Needs, decide
from pipeline.operations.garbage.surveying import Survey, survey
from pipeline.operations.garbage.sweeping import Swept, sweep
from pipeline.runs.request import RunRequest
from pipeline.runs.results import StepResult
from pipeline.runs.running import run
from pipeline.storage.artifacts import FolderStore, Store
from pipeline.storage.artifacts.claims import RunClaims, claim_for_release, read_claims, removing
from pipeline.storage.artifacts.objects import ObjectStore
from tests.conftest import Commit, git

SPEC = """
model: {name: line, trainer: linear_regression, target: y}
data: {files: "data/{part}.csv", columns: {x: float, y: float}}
evaluate: {metrics: [rmse], gate: {rmse: {at_most: 50}}, bootstrap: 0}
deploy: {port: 0}
"""
MONTH = timedelta(days=30)
LATER = timedelta(days=40)


def part(slope: float) -> str:
    return "x,y\n" + "".join(f"{x / 10},{slope * x / 10 + 1}\n" for x in range(60))


@pytest.fixture
def spec(live_project: Path, commit: Commit) -> Path:
    commit({"models/line.yaml": SPEC, "data/1.csv": part(2), "data/2.csv": part(2.5), ".gitignore": ".modelrail/\n"})
    return live_project / "models/line.yaml"


def run_job(spec: Path, **changes: Any) -> tuple[str, dict[str, StepResult]]:
    outcome, results = run(RunRequest(str(spec), **changes), report=lambda _: None)
    return outcome, {each.step: each for each in results}


def look(place: Path, after: timedelta = LATER, keep: timedelta = MONTH) -> Survey:
    return survey(place, keep, datetime.now(UTC) + after)


def clear(found: Survey, after: timedelta = LATER) -> Swept:
    return sweep(found, datetime.now(UTC) + after)


def fates(found: Survey) -> dict[str, list[str | None]]:
    steps: dict[str, list[str | None]] = {}
    for each in sorted(found.fates, key=lambda each: (each.step, str(each.why))):
        steps.setdefault(each.step, []).append(each.why)
    return steps


def test_what_a_release_or_a_plan_or_a_late_run_needs_stays(spec: Path, project: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    assert not look(project, timedelta(0)).goes, "all is new"

    found = look(project)
    assert fates(found) == {
        "clean": [None, "plan", "plan"],
        "evaluate": ["release", "release"],
        "normalize": ["release", "release"],
        "train": ["release", "release"],
        "transform": [None, "plan", "plan"],
    }
    done = clear(found)
    assert (done.removed, done.spared) == (2, 0)
    assert not look(project).goes

    assert run_job(spec)[0] == "unchanged"
    shutil.rmtree(project / ".modelrail/releases")
    assert str(rollback("line", None, None, why="the older one can still be served").stage.version) == "1.0.0"


def test_what_a_run_reused_lately_stays_though_it_was_made_long_ago(spec: Path, project: Path, commit: Commit) -> None:
    first = commit({"data/2.csv": part(3)})
    run_job(spec)
    commit({"data/2.csv": part(4)})
    run_job(spec)
    assert look(project).goes
    store = FolderStore(project / ".modelrail/store")
    old = [each.key for each in store.entries()]
    RunClaims(store, "line").claim(old, datetime.now(UTC) + timedelta(days=35))
    assert first
    assert not look(project).goes, "a run needed them five days ago"
    assert len(look(project, timedelta(days=70)).goes) == 2


def test_every_environment_has_a_plan_of_its_own(spec: Path, project: Path, commit: Commit) -> None:
    commit({"environments/dev.yaml": "clean: {sample: 0.5}\nevaluate: {gate: {rmse: {at_most: 0}}}\n"})
    run_job(spec)
    assert run_job(spec, environment="dev")[0] == "not released"
    assert not look(project).goes
    commit({"environments/dev.yaml": "clean: {sample: 0.7}\n"})
    gone = {(each.step, each.why) for each in look(project).goes}
    assert gone == {(step, None) for step in ("clean", "transform", "normalize", "train", "evaluate")}


def test_what_is_not_committed_yet_is_planned_beside_what_is(spec: Path, project: Path, commit: Commit) -> None:
    commit({"environments/prod.yaml": "deploy: {push_tags: true}\n"})  # and there is no remote to ask
    run_job(spec)
    spec.write_text(SPEC.replace("linear_regression", "ridge"))
    (project / "data/2.csv").write_text(part(5))
    assert run_job(spec)[0] == "not released"
    assert not look(project).goes, "both may be run next"
    git(project, "checkout", "-q", ".")
    assert {each.step for each in look(project).goes} == {"clean", "transform", "normalize", "train", "evaluate"}


def test_of_a_model_whose_needs_are_not_known_all_stays(spec: Path, project: Path, commit: Commit) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    (project / "models/away.yaml").write_text(
        "model: {name: away, target: y}\ndata: {repository: ../no, files: x.csv}\n"
    )
    found = look(project)
    assert len(found.goes) == 2, "a model whose data were never here does not matter to others"
    assert "no such folder" in found.blind["away"]
    spec.write_text(SPEC.replace("trainer", "trainr"))
    found = look(project)
    assert not found.goes
    assert "did you mean 'trainer'" in found.blind["line"]
    assert {each.why for each in found.fates} == {"release", "blind"}
    said = CliRunner().invoke(app, ["gc"]).stdout
    assert "line: all of it stays, since what it needs is not known: " in said


def test_a_spec_of_nobody_knows_which_model_forbids_all(spec: Path, project: Path) -> None:
    run_job(spec)
    (project / "models/other.yaml").write_text("model: {nme: m}\n")
    with pytest.raises(InputError, match=r"gc: nothing is removed, since nobody knows whose spec this is: (?s:.*)nme"):
        look(project)


def test_in_a_shared_store_only_this_repositorys_models_go(
    spec: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELRAIL_STORE", str(tmp_path / "shared"))
    run_job(spec)
    other = tmp_path / "other"
    (other / "models").mkdir(parents=True)
    (other / "data").mkdir()
    (other / "models/line.yaml").write_text(SPEC)
    (other / "data/1.csv").write_text(part(7))
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "the same name"]):
        git(other, *command)
    try:
        run_job(other / "models/line.yaml")
    finally:
        stop_all(other / ".modelrail")
    (spec.parent / "line.yaml").write_text(SPEC.replace("trainer: linear_regression", "trainer: ridge"))
    git(project, "commit", "-qam", "another trainer")
    git(project, "tag", "-d", "line@v1.0.0")
    found = look(project)
    assert len(found.others) == 5
    assert not found.goes, "the store remembers that a clone of this repository released it"
    for use in read_claims(found.store):
        found.store.remove_note(use.note)
    clear(look(project))
    assert len(look(project).others) == 5
    assert [each.step for each in look(other).fates if each.why] == [each.step for each in look(other).fates]


def test_what_another_clone_has_released_and_pushed_is_needed(
    spec: Path, project: Path, commit: Commit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q", "--bare", "origin.git")
    git(project, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(project, "push", "-q", "origin", "main")
    git(tmp_path, "clone", "-q", "-b", "main", "origin.git", "other")
    monkeypatch.setenv("MODELRAIL_STORE", str(tmp_path / "shared"))
    run_job(spec)
    git(project, "push", "-q", "--tags", "origin")
    commit({"data/1.csv": part(9), "data/2.csv": part(8)})
    git(project, "push", "-q", "origin", "main")
    other = tmp_path / "other"
    git(other, "pull", "-q", "--no-tags")
    git(other, "tag", "-d", *git(other, "tag").split()) if git(other, "tag") else None
    for use in read_claims(FolderStore(tmp_path / "shared")):
        FolderStore(tmp_path / "shared").remove_note(use.note)
    found = look(other)
    assert {each.step for each in found.fates if each.why == "release"} == {"normalize", "train", "evaluate"}
    git(other, "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    with pytest.raises(ModelrailError, match="git fetch of tags failed"):
        look(other)


def publish(store: Store, key: str, made: datetime, **facts: Any) -> None:
    with store.draft() as folder:
        (folder / "rows.csv").write_text("1,2\n" * 100)
        (folder / "more.csv").write_text("3\n")
        store.publish(key, folder, {"step": "clean", "model": "line", "created": made.isoformat(), **facts})


@pytest.fixture(params=["folder", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return FolderStore(tmp_path / "s") if request.param == "folder" else ObjectStore(f"memory://{tmp_path}", tmp_path)


def keys(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=90)


def survey_of(store: Store, needs: Needs | None = None) -> Survey:
    entries = store.entries()
    limit = NOW - MONTH
    return Survey(store, limit, tuple(decide(entries, needs or Needs(), limit)), (), (), (), ())


def test_nothing_is_left_of_what_goes_and_nothing_is_lost_of_what_stays(store: Store) -> None:
    for key in keys(120):
        publish(store, key, OLD)
    publish(store, "f" * 64, NOW)
    store.write_note("costs/line/2026-11-22/1.json", b"{}")
    assert {each.bytes > 400 for each in store.entries()} == {True}
    done = sweep(survey_of(store), NOW)
    assert (done.removed, done.spared) == (120, 0)
    assert [each.key for each in store.entries()] == ["f" * 64]
    assert list(store.notes("")) == ["costs/line/2026-11-22/1.json"]


def test_what_a_run_comes_to_need_after_the_survey_is_spared(store: Store) -> None:
    for key in keys(4):
        publish(store, key, OLD)
    found = survey_of(store)
    RunClaims(store, "line").claim(keys(4)[:1], NOW)
    claim_for_release(store, "line", keys(4)[1:2])
    store.remove(keys(4)[2])
    publish(store, keys(4)[2], NOW)
    done = sweep(found, NOW)
    assert (done.removed, done.spared) == (1, 3)
    assert {each.key for each in store.entries()} == set(keys(4)[:3])


def test_a_run_waits_until_what_it_needs_is_removed_and_not_for_anything_else(store: Store) -> None:
    order: list[str] = []

    def need(key: str) -> None:
        RunClaims(store, "line").claim([key], NOW)
        order.append(key)

    with removing(store, keys(1)):
        need("e" * 64)
        waiting = threading.Thread(target=need, args=keys(1))
        waiting.start()
        waiting.join(0.3)
        order.append("removed")
    waiting.join(10)
    assert order == ["e" * 64, "removed", keys(1)[0]]


def test_a_removal_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    code = (
        "import os,signal\nfrom pathlib import Path\nfrom pipeline.storage.artifacts import FolderStore\n"
        "from pipeline.storage.artifacts.claims import removing\n"
        f"with removing(FolderStore(Path({str(tmp_path)!r})), ['{'a' * 64}']):\n os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    store.draft().__enter__()
    subprocess.run([sys.executable, "-c", code], check=False)
    assert store.notes("removing")
    began = time.monotonic()
    RunClaims(store, "line").claim(["a" * 64], NOW)
    assert time.monotonic() - began < 5
    assert not store.notes("removing")


@pytest.mark.parametrize("seed", range(3))
def test_what_a_run_found_is_there_as_long_as_it_goes_on_whoever_removes(store: Store, seed: int) -> None:
    """Two removals and six runs at once; what a run finds it must still be able to read a moment later."""
    for key in keys(60):
        publish(store, key, OLD)
    found = survey_of(store)
    lost: list[str] = []
    failed: list[BaseException] = []

    def use(number: int) -> None:
        for turn in range(8):
            mine = keys(60)[(number * 7 + turn * 11 + seed * 5) % 50 :][:6]
            RunClaims(store, f"run{number}-{turn}").claim(mine, NOW)
            there = store.find_all(mine)
            time.sleep(0.01)
            lost.extend(key for key in there if store.find(key) is None)

    def remove() -> None:
        for _ in range(3):
            sweep(found, NOW)

    def watch(act: Callable[[], None]) -> Callable[[], None]:
        def run_it() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001
                failed.append(error)

        return run_it

    acts: list[Callable[[], None]] = [remove, remove, *(lambda number=number: use(number) for number in range(6))]  # type: ignore[misc]
    threads = [threading.Thread(target=watch(each)) for each in acts]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not failed
    assert not lost


def test_one_that_is_killed_leaves_whole_artifacts_only_and_the_next_ends_the_work(tmp_path: Path) -> None:
    place = tmp_path / "store"
    store = FolderStore(place)
    for key in keys(300):
        publish(store, key, OLD)
    code = (
        "from pathlib import Path\nfrom tests.operations.garbage.test_gc import NOW, survey_of, sweep\n"
        "from pipeline.storage.artifacts import FolderStore\n"
        f"found = survey_of(FolderStore(Path({str(place)!r})))\nprint('go', flush=True)\nsweep(found, NOW)\n"
    )
    left = [len(store.entries())]
    for delay in (0.0, 0.01, 0.03, 0.05):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        with process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        here = store.entries()
        assert all(each.manifest for each in here)
        assert len(store.find_all([each.key for each in here])) == len(here)
        left.append(len(here))
    assert left[-1] < left[0]
    sweep(survey_of(store), NOW)
    assert not store.entries()
    store.sweep()
    assert not list((place / "drafts").iterdir())


def test_in_an_object_store_the_manifest_goes_first_and_leftovers_go_later(tmp_path: Path) -> None:
    store = ObjectStore(f"memory://{tmp_path}", tmp_path / "cache")
    publish(store, keys(1)[0], OLD)
    store.files.rm_file(f"{store.root}/{keys(1)[0][:2]}/{keys(1)[0]}/manifest.json")
    (entry,) = store.entries()
    assert entry.manifest is None
    assert entry.modified is not None
    assert not survey_of(store, Needs()).goes, "somebody may be writing it"
    sweep(replace(survey_of(store), leftovers=(entry,)), NOW)
    assert not store.entries()


def test_a_note_that_cannot_be_read_stops_all(store: Store) -> None:
    store.write_note("uses/2026-11-23/line-1.json", b"{")
    with pytest.raises(StoreError, match=r"notes/uses/2026-11-23/line-1\.json: found .*; expected what a run needs"):
        read_claims(store)


def test_a_draft_of_another_machine_is_not_swept(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    theirs = tmp_path / "drafts/999999-00ff-another-machine"
    theirs.mkdir(parents=True)
    store.sweep()
    assert theirs.is_dir()


def test_the_command_says_first_and_removes_only_what_somebody_agreed_to(
    spec: Path, project: Path, commit: Commit
) -> None:
    run_job(spec)
    commit({"data/2.csv": part(3)})
    run_job(spec)
    make_old(project / ".modelrail/store")
    runner = CliRunner()
    said = runner.invoke(app, ["gc"])
    assert said.exit_code == 0, said.output
    assert "nothing needs it: would be removed" in said.stdout
    assert "nothing was removed; --yes removes without asking" in said.stdout
    told = json.loads(runner.invoke(app, ["gc", "--json"]).stdout)
    assert told["removed"] is None
    assert told["models"][0]["goes"]["artifacts"] == 2
    assert {each["step"] for each in told["artifacts"]} == {"clean", "transform"}
    done = runner.invoke(app, ["gc", "--yes"])
    assert "removed 2 artifacts" in done.stdout
    assert "nothing to remove" in runner.invoke(app, ["gc"]).stdout
    assert run_job(spec)[0] == "unchanged"


def make_old(store: Path) -> None:
    """Let all that was made and used have happened long ago."""
    for manifest in store.glob("*/*/manifest.json"):
        facts = json.loads(manifest.read_text())
        manifest.write_text(json.dumps(facts | {"created": OLD.isoformat()}))
    for day in [each for each in (store / "notes/uses").iterdir() if each.name != "releases"]:
        for note in day.iterdir():
            note.write_text(json.dumps(json.loads(note.read_text()) | {"until": "2026-01-02"}))
        day.rename(day.with_name("2026-01-01"))


@pytest.mark.parametrize("keep", ["0d", "soon", "-1d", "12h", ""])
def test_too_short_a_time_is_refused(spec: Path, keep: str) -> None:
    done = CliRunner().invoke(app, ["gc", "--keep", keep])
    assert isinstance(done.exception, InputError)
    assert "expected days or weeks, at least 1d" in str(done.exception)


def test_an_entry_says_when_it_was_written(store: Store) -> None:
    publish(store, keys(1)[0], OLD)
    (entry,) = store.entries()
    assert entry.modified is not None
    assert abs((datetime.now(UTC) - entry.modified).total_seconds()) < 60
