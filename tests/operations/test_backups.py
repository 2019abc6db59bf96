"""Backup and restore, by the commands, of a model that is live: destroyed, and brought back."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.delivery.platforms.local.deployments import live, stop_all
from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.home import lock_work, prepare_home, working
from pipeline.operations.backups.archives import CONTENT, FACTS, FORMAT, LISTING, unpack
from pipeline.operations.backups.contents import find_files
from pipeline.operations.backups.restoring import restore
from pipeline.operations.backups.saving import back_up
from tests.ui.test_cli import make_project, modelrail, told

MODEL = "LinearRegression"
ASK = ["predict", MODEL, "--record", '{"x": 0.5}', "--json"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield a project whose model is released and live, with a login of Airflow's beside it."""
    folder = make_project(tmp_path_factory.mktemp("backups") / "project")
    done = modelrail(["run", "line", "--json"], folder)
    assert done.returncode == 0, done.stderr
    login = folder / ".modelrail/airflow/passwords.json"
    login.parent.mkdir()
    login.write_text('{"admin": "s3cret"}')
    login.chmod(0o600)
    (login.parent / "airflow.cfg").write_text(f"sql_alchemy_conn = sqlite:///{folder}/.modelrail/airflow/airflow.db\n")
    yield folder
    stop_all(folder / ".modelrail")


@pytest.fixture(scope="module")
def saved(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a backup that was written while the model was live."""
    file = tmp_path_factory.mktemp("saved") / "one.tar"
    done = modelrail(["backup", str(file)], project)
    assert done.returncode == 0, done.stderr
    return file


def read_state(state: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the mode of each file that a backup holds, without the databases' own bytes."""
    return {
        path.relative_to(state).as_posix(): (path.read_bytes(), path.stat().st_mode)
        for path in find_files(state)
        if path.suffix != ".db"
    }


def destroy(project: Path) -> None:
    """Do what a lost machine does: kill the servers, and lose all state."""
    state = project / ".modelrail"
    if found := live(MODEL, state):
        os.kill(found.pid, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while live(MODEL, state):
            assert time.monotonic() < deadline
    shutil.rmtree(state)


def test_a_backup_can_be_read_by_its_owner_alone_and_says_so(project: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    done = modelrail(["backup", str(file)], project)
    assert "only you can read it" in done.stdout
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as tar:
        names = tar.getnames()
    assert names[0] == FACTS
    assert names[-1] == LISTING
    assert not [each for each in names if each.endswith((".lock", "server.log", ".db-journal"))]
    assert {f"{CONTENT}/mlflow.db", f"{CONTENT}/airflow/passwords.json"} <= set(names)
    assert [each.name for each in tmp_path.iterdir()] == ["b.tar"]


def test_a_destroyed_deployment_comes_back_as_it_was(project: Path, saved: Path) -> None:
    state = project / ".modelrail"
    answer, before = told(modelrail(ASK, project)), read_state(state)
    address = told(modelrail(["status", "--json"], project))["deployments"][0]["address"]
    destroy(project)
    assert modelrail(ASK, project).returncode == 2
    done = modelrail(["restore", str(saved)], project)
    assert done.returncode == 0, done.stderr
    assert f"{MODEL} v1.0.0 is live at {address}" in done.stdout
    after = read_state(state)
    assert {name: after[name] for name in before if "deployments/" not in name} == {
        name: each for name, each in before.items() if "deployments/" not in name
    }
    again = told(modelrail(ASK, project))
    assert (again["outputs"], again["version"]) == (answer["outputs"], answer["version"])
    ran = told(modelrail(["run", "line", "--json"], project))
    assert ran["outcome"] == "unchanged"
    assert {each["action"] for each in ran["steps"]} <= {"reused", "skipped", "ran"}
    assert {each["step"]: each["action"] for each in ran["steps"]}["train"] == "reused"
    assert f"{MODEL}@v1.0.0" in modelrail(["releases", MODEL, "--json"], project).stdout
    assert (project / ".modelrail/airflow").stat().st_mode & 0o777 == 0o700


def test_a_state_that_is_there_or_runs_is_refused_and_replaced_only_on_demand(project: Path, saved: Path) -> None:
    state = project / ".modelrail"
    with pytest.raises(InputError, match=f"found {MODEL} live; expected nothing to run: 'modelrail down'"):
        restore(saved, state, replace=True)
    stop_all(state)
    with pytest.raises(InputError, match="found a state; expected none: --replace moves it aside"):
        restore(saved, state)
    (state / "cache").mkdir(exist_ok=True)
    (state / "cache/kept").write_text("x")
    (state / "history/mine").write_text("mine")
    done = restore(saved, state, replace=True)
    assert done.before is not None
    assert (Path(done.before) / "history/mine").read_text() == "mine"
    assert (state / "cache/kept").exists(), "what is no part of a backup stays"
    assert not (state / "history/mine").exists()
    status = subprocess.run(
        ["git", "-C", str(project), "status", "--porcelain"], check=True, capture_output=True, text=True
    )
    assert status.stdout == "", "the state aside is no part of the project"
    shutil.rmtree(done.before)


def test_a_state_can_move_to_another_folder(saved: Path, tmp_path: Path, project: Path) -> None:
    state = tmp_path / "elsewhere"
    try:
        done = restore(saved, state)
        assert [each.model for each in done.live] == [MODEL]
        assert Path(done.live[0].bundle).is_relative_to(state)
        with closing(sqlite3.connect(state / "mlflow.db")) as database:
            places = [row[0] for row in database.execute("SELECT artifact_uri FROM runs")]
        assert places
        assert all(str(state) in each and str(project) not in each for each in places)
        assert f"sqlite:///{state}/airflow/airflow.db" in (state / "airflow/airflow.cfg").read_text()
    finally:
        stop_all(state)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def cut_at_a_member(content: bytes) -> bytes:
    return content[: content.index(LISTING.encode())]


def tamper(content: bytes) -> bytes:
    where = content.index(b"s3cret")
    return content[:where] + b"S" + content[where + 1 :]


def tamper_with_the_list(content: bytes) -> bytes:
    where = content.rindex(b'"mode": ') + 8
    return content[:where] + b"5" + content[where + 1 :]


def make_newer(content: bytes) -> bytes:
    return content.replace(f'"format": {FORMAT}'.encode(), b'"format": 9', 1)


WRONG: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("cut off", cut, "damaged or cut off"),
    ("without its end", cut_at_a_member, "damaged or cut off"),
    ("a changed byte", tamper, "airflow/passwords.json differ from what was written"),
    ("a changed list", tamper_with_the_list, "its list of files is not what was written"),
    ("newer", make_newer, r"found format 9, written by Modelrail .*; expected at most 1: restore it with that version"),
    ("empty", lambda _: b"", "damaged or cut off"),
    ("no tar", lambda _: b"hello" * 1000, "damaged or cut off"),
]


@pytest.mark.parametrize(("change", "message"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_a_backup_that_is_not_whole_puts_nothing_in_place(
    saved: Path, tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    file = tmp_path / "wrong.tar"
    file.write_bytes(change(saved.read_bytes()))
    with pytest.raises(InputError, match=message):
        restore(file, tmp_path / "state")
    assert [each.name for each in tmp_path.iterdir()] == ["wrong.tar"]


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


MEMBERS = [
    member("home/../../evil"),
    member("/etc/evil"),
    member("evil"),
    member("home"),
    member("home/link", tarfile.SYMTYPE, "/etc/passwd"),
    member("home/hard", tarfile.LNKTYPE, "home/x"),
    member("home/device", tarfile.CHRTYPE),
    member("home/pipe", tarfile.FIFOTYPE),
    member("home/folder", tarfile.DIRTYPE),
]


@pytest.mark.parametrize("bad", MEMBERS, ids=[each.name for each in MEMBERS])
def test_a_member_that_leads_out_or_is_no_file_is_refused(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    file, facts = tmp_path / "bad.tar", json.dumps({"format": FORMAT}).encode()
    with tarfile.open(file, "w") as tar:
        first = member(FACTS)
        first.size = len(facts)
        tar.addfile(first, io.BytesIO(facts))
        tar.addfile(bad)
    with pytest.raises(InputError, match="expected only plain files below 'home/'"):
        restore(file, tmp_path / "deep/state")
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["bad.tar", "deep"]


def test_a_backup_is_never_overwritten_nor_put_into_the_state(project: Path, saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(InputError, match="found one already; expected a new name"):
        back_up(project / ".modelrail", saved)
    assert saved.read_bytes() == before
    with pytest.raises(InputError, match="expected a file elsewhere"):
        back_up(project / ".modelrail", project / ".modelrail/b.tar")
    with pytest.raises(InputError, match="found no state"):
        back_up(project / "nowhere", saved.with_name("new.tar"))


def test_a_killed_backup_leaves_nothing_under_its_name_and_the_next_one_cleans_up(
    project: Path, tmp_path: Path
) -> None:
    file, big = tmp_path / "b.tar", project / ".modelrail/store/big"
    with big.open("wb") as target:
        target.truncate(1 << 30)  # long enough to be caught in the middle
    try:
        process = subprocess.Popen([sys.executable, "-m", "pipeline", "backup", str(file)], cwd=project)
        deadline = time.monotonic() + 60
        while not any(tmp_path.glob(".b.tar.*/backup")):
            assert time.monotonic() < deadline
            assert process.poll() is None
        process.kill()
        process.wait()
    finally:
        big.unlink()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".b.tar.")
    os.utime(left, (0, 0))  # as if a minute had passed
    assert back_up(project / ".modelrail", file).files > 10
    assert list(tmp_path.iterdir()) == [file]


def test_two_backups_and_a_writer_at_once_give_whole_backups(project: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{each}.tar" for each in "ab"]
    commands = [[sys.executable, "-m", "pipeline", "backup", str(each)] for each in files]
    processes = [subprocess.Popen(each, cwd=project, stdout=subprocess.DEVNULL) for each in commands]
    with closing(sqlite3.connect(project / ".modelrail/mlflow.db", timeout=60)) as database:
        database.execute("CREATE TABLE busy (a TEXT, b TEXT)")
        while any(each.poll() is None for each in processes):
            with database:
                database.execute("INSERT INTO busy VALUES ('x', 'x')")
        database.execute("DROP TABLE busy")
    assert [each.returncode for each in processes] == [0, 0]
    for number, file in enumerate(files):
        folder = tmp_path / f"out{number}"
        unpack(file, folder)
        with closing(sqlite3.connect(folder / "mlflow.db")) as copy:
            assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_two_restores_at_once_do_not_meet(saved: Path, tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(TransientError, match="found another restore at work"):
            restore(saved, tmp_path / "state")
    finally:
        os.close(descriptor)


def test_a_restore_and_a_run_do_not_meet(saved: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with working(state):
        with pytest.raises(TransientError, match=r"found a run \('modelrail run', or a task of Airflow\) at work"):
            restore(saved, state, replace=True)
        with working(state):
            pass  # runs do not exclude each other
    descriptor = os.open(state / "work.lock", os.O_RDWR)
    try:
        lock_work(descriptor, state, fcntl.LOCK_EX, "a run")
        with pytest.raises(TransientError, match="found a restore at work; expected none"), working(state):
            pass
    finally:
        os.close(descriptor)
    try:
        assert restore(saved, state).home == str(state)
    finally:
        stop_all(state)


def test_a_full_disk_leaves_no_backup(project: Path, tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    try:
        done = modelrail(["backup", str(place / "b.tar")], project)
        assert done.returncode == 1
        assert "mlflow.db: copying it to" in done.stderr
        assert "is full" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_what_is_kept_elsewhere_is_named_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "state"
    prepare_home(state)
    (state / "registered").mkdir()
    (state / "registered/m@v1.0.0").touch()
    (state / "store").symlink_to(tmp_path)
    monkeypatch.setenv("MODELRAIL_STORE", "s3://bucket/models")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:s3cret@example.org")
    made = back_up(state, tmp_path / "b.tar")
    assert made.outside == (
        "artifacts: they are kept at s3://bucket/models (MODELRAIL_STORE)",
        "MLflow's runs and models: they are kept at https://***@example.org (MLFLOW_TRACKING_URI)",
        f"store: it is a link to {tmp_path}",
    )
    assert made.files == 1


def test_a_state_that_cannot_be_renamed_stays(saved: Path, tmp_path: Path) -> None:
    place = tmp_path / "mounted"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(place)], check=False).returncode:
        pytest.skip("mounting a disk is not allowed here")
    try:
        with pytest.raises(ModelrailError, match="no mounted disk itself"):
            restore(saved, place)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert [each.name for each in tmp_path.iterdir()] == ["mounted"]
