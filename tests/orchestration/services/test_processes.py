from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.orchestration.services import processes
from pipeline.orchestration.services.ports import choose_port, is_free

# a process that refuses to end, with a child in a session of its own that does as well
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
print("ready", flush=True)
time.sleep(600)
"""


def start_stubborn(folder: Path, marker: str) -> int:
    log = folder / "log"
    environment = dict(os.environ) | {"MODELRAIL_TEST": marker}
    pid = processes.start([sys.executable, "-c", STUBBORN], environment, log, folder)
    deadline = time.monotonic() + 30
    while log.read_text().count("ready") < 2 and time.monotonic() < deadline:
        psutil.Process().children()
    return pid


@pytest.mark.filterwarnings("ignore:subprocess .* is still running")
def test_stop_ends_what_ignores_the_request_and_its_grandchildren(tmp_path: Path) -> None:
    marker = str(tmp_path)
    pid = start_stubborn(tmp_path, marker)
    assert {process.pid for process in processes.find_by_session([pid])} == {pid}
    assert len(processes.find_by_variable("MODELRAIL_TEST", marker)) == 2
    assert processes.stop(lambda: processes.find_by_variable("MODELRAIL_TEST", marker), patience_s=0.2) == 2
    assert processes.find_by_variable("MODELRAIL_TEST", marker) == []
    assert processes.identify(pid) is None


@pytest.mark.filterwarnings("ignore:subprocess .* is still running")
def test_what_is_spared_goes_on_with_its_whole_session(tmp_path: Path) -> None:
    pids = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        pids.append(start_stubborn(tmp_path / name, str(tmp_path)))

    def find() -> list[psutil.Process]:
        return processes.find_by_variable("MODELRAIL_TEST", str(tmp_path))

    try:
        processes.stop(lambda: processes.leave_out(find(), [pids[0]]), patience_s=0.2)
        assert [process.pid for process in find()] == [pids[0]]
    finally:
        processes.stop(find, patience_s=0.2)


def test_is_same_knows_a_later_process_of_the_same_number() -> None:
    created = psutil.Process().create_time()
    assert processes.is_same(os.getpid(), created)
    assert not processes.is_same(os.getpid(), created - 100)


def test_choose_port_takes_the_next_free_one() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        assert not is_free(taken)
        assert choose_port(taken) != taken
    free = choose_port(20_000)
    assert choose_port(20_000, {free}) != free


def test_the_niceness_is_added_to_that_of_whoever_starts(tmp_path: Path) -> None:
    starter = (
        "import os, psutil, sys; from pathlib import Path; from pipeline.orchestration.services import processes\n"
        "pid = processes.start(['sleep', '60'], os.environ, Path(sys.argv[1]), Path('/'), int(sys.argv[2]))\n"
        "print(psutil.Process(pid).nice()); psutil.Process(pid).kill()"
    )
    for own, added, expected in ((12, 0, 12), (12, 5, 17), (15, 10, 19)):
        command = ["nice", "-n", str(own), sys.executable, "-c", starter, str(tmp_path / "log"), str(added)]
        assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) == expected
