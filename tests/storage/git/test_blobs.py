"""Many contents from one process of Git."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from pipeline.storage.git.blobs import Blobs
from tests.conftest import Commit, git

CONTENTS = {f"{number}": os.urandom(number * 997) for number in range(60)} | {"empty": b"", "lines": b"\n\n\n"}


@pytest.fixture
def ids(project: Path, commit: Commit) -> dict[str, str]:
    commit(CONTENTS)
    listed = [line.split() for line in git(project, "ls-tree", "HEAD").splitlines()]
    return {name: identity for _, _, identity, name in listed}


def commands(project: Path) -> list[psutil.Process]:
    """List the processes that read this repository; those of other tests may not have been collected yet."""
    ours = (each for each in psutil.Process().children() if "cat-file" in each.cmdline())
    return [each for each in ours if each.cwd() == str(project)]


def test_threads_read_what_was_committed_from_one_process(project: Path, ids: dict[str, str]) -> None:
    blobs = Blobs(project)
    with ThreadPoolExecutor(8) as pool:
        found = dict(zip(ids, pool.map(blobs.read, ids.values()), strict=True))
    assert found == CONTENTS
    (one,) = commands(project)
    del blobs
    gc.collect()
    assert not one.is_running()


def test_what_is_no_blob_is_told_and_the_next_is_read(project: Path, ids: dict[str, str]) -> None:
    blobs, tree = Blobs(project), git(project, "rev-parse", "HEAD^{tree}").strip()
    assert [blobs.read(each) for each in ("0" * 40, tree, ids["lines"], "no id", ids["empty"])] == [
        *(None, None, b"\n\n\n", None, b"")
    ]


def test_one_that_was_killed_is_started_again(project: Path, ids: dict[str, str]) -> None:
    blobs = Blobs(project)
    assert blobs.read(ids["59"]) == CONTENTS["59"]
    (one,) = commands(project)
    one.send_signal(signal.SIGKILL)
    one.wait(10)
    assert blobs.read(ids["59"]) == CONTENTS["59"]


def test_an_interrupted_read_leaves_nothing_for_the_next(
    project: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = Blobs(project)
    assert blobs.read(ids["lines"]) == b"\n\n\n"

    def interrupt(running: subprocess.Popen[bytes], identity: str, kind: str) -> bytes:
        assert running.stdin is not None
        running.stdin.write(f"{identity}\n".encode())
        running.stdin.flush()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.storage.git.blobs._ask", interrupt)
        with pytest.raises(KeyboardInterrupt):
            blobs.read(ids["59"])
    assert blobs.read(ids["1"]) == CONTENTS["1"]


def test_a_fork_reads_by_itself_and_leaves_its_parent_its_own(project: Path, ids: dict[str, str]) -> None:
    blobs = Blobs(project)
    assert blobs.read(ids["2"]) == CONTENTS["2"]
    child = os.fork()
    if child == 0:
        os._exit(0 if blobs.read(ids["3"]) == CONTENTS["3"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert blobs.read(ids["4"]) == CONTENTS["4"]
