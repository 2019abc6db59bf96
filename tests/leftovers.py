"""Processes that tests have left behind: a run of tests that leaves one fails."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path

import psutil
import pytest

_PATIENCE_S = 10
"""What was asked to end as its test ended may take so long."""


def find_left(folder: Path) -> list[str]:
    """List the processes that stand in a folder, or were started with its path, but for this one."""
    return [_describe(each) for each in psutil.process_iter() if each.pid != os.getpid() and _is_below(each, folder)]


def _is_below(process: psutil.Process, folder: Path) -> bool:
    below = str(folder) + os.sep
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        told = (process.cwd() + os.sep, *process.cmdline(), *process.environ().values())
    except (psutil.Error, OSError):  # it has ended, or is somebody else's
        return False
    return any(below in each for each in told)


def _describe(process: psutil.Process) -> str:
    try:
        test = process.environ().get("PYTEST_CURRENT_TEST", "a test that is not known")
        return f"{process.pid}: {' '.join(process.cmdline())}, started by {test}"
    except psutil.Error:
        return f"{process.pid}, which has ended since"


@pytest.hookimpl(trylast=True)  # after the workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Report an error if a process of these tests still runs; once, where all workers' folders are seen."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return
    gc.collect()  # what a test no longer refers to ends what it has started
    factory: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    folder, deadline = factory.getbasetemp(), time.monotonic() + _PATIENCE_S
    while (left := find_left(folder)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if left:
        name = "no process is left behind"
        report = pytest.TestReport(name, ("", None, name), {}, "failed", "\n".join(left), "teardown")
        session.config.hook.pytest_runtest_logreport(report=report)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
