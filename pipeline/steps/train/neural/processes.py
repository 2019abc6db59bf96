"""Workers that are processes on this machine, connected without leaving it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from pipeline.home import CHECKOUT
from pipeline.steps.train.neural.group import TIMEOUT_S, Group, LostError
from pipeline.steps.train.neural.rendezvous import LOOPBACK, Framework, Rendezvous

_GRACE_S = 5.0
_FOLDER = "modelrail-workers-"


class Processes:
    """Processes of one user.

    They find each other by a file in a folder that only this user reads; it is gone as soon as they are connected. What
    they say goes to files without a name.
    """

    def __init__(self, framework: Framework, size: int) -> None:
        self._framework, self._size = framework, size
        self._started: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    @property
    def where(self) -> str:  # noqa: D102
        return f"{self._size} processes on this machine"

    @property
    def threads(self) -> int | None:  # noqa: D102
        return max((os.cpu_count() or 1) // self._size, 1)

    def gather(self) -> Group:  # noqa: D102
        _remove_stale()
        with (
            tempfile.TemporaryDirectory(prefix=_FOLDER) as folder,
            closing(self._framework.open_here(Path(folder) / "rendezvous", self._size)) as rendezvous,
        ):
            rendezvous.begin()
            self._started = [self._launch(rendezvous.place, index) for index in range(self._size - 1)]
            self._await(rendezvous)
            return Group(rendezvous.connect())

    def _launch(self, place: str, index: int) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        command = [sys.executable, "-m", self._framework.module, place, str(index), str(self._size), LOOPBACK]
        paths = ":".join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
        log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed when its process has ended)
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": paths}
        )
        return process, log

    def _await(self, rendezvous: Rendezvous) -> None:
        """Wait until the workers have loaded their framework, or one of them has ended."""
        deadline = time.monotonic() + TIMEOUT_S
        while not rendezvous.is_complete():
            if time.monotonic() > deadline or any(each.poll() is not None for each, _ in self._started):
                raise LostError("a worker did not begin")
            time.sleep(0.02)

    def explain(self) -> str | None:  # noqa: D102
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            for each, log in self._started:
                if each.poll() is not None:
                    return f"the exit code {each.returncode}{_last_words(log)}"
            time.sleep(0.05)
        return None

    def disband(self) -> None:  # noqa: D102
        for each, log in self._started:
            each.kill()
            each.wait()
            log.close()
        self._started = []

    def close(self) -> None:
        """They have ended with their group."""


def _remove_stale() -> None:
    """Remove the folders of those who were killed before all were connected, which nobody waits for so long."""
    for each in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(OSError):  # another user's, or gone already
            if each.stat().st_mtime < time.time() - 2 * TIMEOUT_S:
                shutil.rmtree(each)


def _last_words(log: IO[bytes]) -> str:
    log.seek(0)
    said = [each.strip() for each in log.read().decode("utf-8", "replace").split("\n") if each.strip()]
    return f" ({said[-1]})" if said else ""
