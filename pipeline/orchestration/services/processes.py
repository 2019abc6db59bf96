"""Start processes, find them again, and stop them so that none of their children is left."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import psutil


def start(argv: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path, niceness: int = 0) -> int:
    """Start a process in a session of its own, with its output in a file; return its identifier.

    A session of its own keeps Ctrl-C in the terminal from it, and names all that it starts in turn.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    if niceness:  # added to our own: only root may give a process more than it was started with
        psutil.Process(process.pid).nice(min(psutil.Process().nice() + niceness, 19))
    return process.pid


def identify(pid: int) -> float | None:
    """Return when this process started (seconds since 1970): a later one may get the same identifier."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_same(pid: int, created: float) -> bool:
    """Tell whether the process with this identifier is still the one that was started then."""
    now = identify(pid)
    return now is not None and abs(now - created) < 1


def find_by_session(sessions: Iterable[int]) -> list[psutil.Process]:
    """Find every process of these sessions, also those whose session leader has ended."""
    wanted = set(sessions)
    return _find(lambda process: os.getsid(process.pid) in wanted)


def find_by_variable(name: str, value: str) -> list[psutil.Process]:
    """Find every process of this user that was started with this environment variable, except this one."""
    return _find(lambda process: process.environ().get(name) == value)


def leave_out(found: Iterable[psutil.Process], spared: Collection[int]) -> list[psutil.Process]:
    """Leave out the processes that share a session with one of the spared ones."""
    sessions = set(map(_session, spared)) - {None}
    return [process for process in found if _session(process.pid) not in sessions]


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _find(matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and matches(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or somebody else's
    return found


def stop(find: Callable[[], Iterable[psutil.Process]], patience_s: float = 1.5) -> int:
    """End processes: ask, wait, then force, until none is found any more.

    Parameters
    ----------
    find : callable
        Finds the processes; asked again each round, since a process may start another while it ends.
    patience_s : float
        Seconds to wait before a process is forced to end. Short: whatever is started here can be killed at any moment
        without harm to what it keeps.

    Returns
    -------
    int
        How many processes there were at first.
    """
    processes = list(find())
    count = len(processes)
    for process in processes:
        _signal(process, signal.SIGTERM)
    remaining = _wait(processes, patience_s)
    for _ in range(5):
        remaining = list({*remaining, *find()})
        if not remaining:
            break
        for process in remaining:
            _signal(process, signal.SIGKILL)
        remaining = _wait(remaining, 2)
    return count


def _wait(processes: Iterable[psutil.Process], patience_s: float) -> list[psutil.Process]:
    """Wait until they have ended; return those that have not.

    One that nobody has asked how it ended (a zombie) has ended, too: where no init process reaps, it stays for good.
    """
    deadline = time.monotonic() + patience_s
    while (left := [each for each in processes if _lives(each)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
