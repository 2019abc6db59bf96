"""Live servers, one process each, ended with the test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.serving.process.workers import child_environment, listen
from tests.serving.bundles import write_bundle


@dataclass(frozen=True)
class Live:
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Start = Callable[..., Live]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Yield a function that serves a bundle; the socket listens before the process starts, so nobody must wait."""
    processes = []

    def make(bundle: Path, *arguments: str) -> Live:
        log = tmp_path_factory.mktemp("server") / "log"
        command = [sys.executable, "-m", "pipeline.serving.process.server", "--bundle", str(bundle)]
        with listen("127.0.0.1", 0) as listener, log.open("wb") as output:
            descriptor = listener.fileno()
            process = subprocess.Popen(
                [*command, "--fd", str(descriptor), *arguments],
                pass_fds=[descriptor],
                stdout=output,
                env=child_environment(),
            )
            processes.append(process)
            return Live(listener.getsockname()[1], process, log)

    yield make
    for process in processes:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def line(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """Serve 2 · x + 1."""
    return start(write_bundle(tmp_path_factory.mktemp("bundle") / "line"))
