"""Start processes that nothing of is left when they are stopped, and find them again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil


def start(argv: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path, niceness: int = 0) -> int:
    """Start a process in a session of its own, its output in a file, and give its identifier.

    A session of its own keeps Ctrl-C in the terminal from it, and names all that it starts in turn.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            argv, env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    if niceness:
        psutil.Process(process.pid).nice(niceness)
    return process.pid


def identify(pid: int) -> float | None:
    """Give when this process started (seconds since 1970), which tells it from a later one of the same number."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def is_same(pid: int, created: float) -> bool:
    """Tell whether the process that was started then still runs."""
    now = identify(pid)
    return now is not None and abs(now - created) < 1


def find_by_session(sessions: Iterable[int]) -> list[psutil.Process]:
    """Find every process of these sessions, including those that the leader has left behind."""
    wanted = set(sessions)
    return _find(lambda process: os.getsid(process.pid) in wanted)


def find_by_variable(name: str, value: str) -> list[psutil.Process]:
    """Find every process of this user that was started with this environment variable, except this one."""
    return _find(lambda process: process.environ().get(name) == value)


def _find(matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and matches(process):
                found.append(process)
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or somebody else's
    return found


def stop(find: Callable[[], Iterable[psutil.Process]], patience_s: float = 10) -> int:
    """End processes: ask, wait, then force, until none is found any more.

    Parameters
    ----------
    find : callable
        Finds the processes; asked again each round, since a process may start another while it ends.
    patience_s : float
        Seconds to wait before a process is forced to end.

    Returns
    -------
    int
        How many processes there were at first.
    """
    processes = list(find())
    count = len(processes)
    for process in processes:
        _signal(process, signal.SIGTERM)
    _, remaining = psutil.wait_procs(processes, timeout=patience_s)
    for _ in range(5):
        remaining = list({*remaining, *find()})
        if not remaining:
            break
        for process in remaining:
            _signal(process, signal.SIGKILL)
        _, remaining = psutil.wait_procs(remaining, timeout=2)
    return count


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
