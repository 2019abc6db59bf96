"""A server on one core and wrk on another: what it answers, how soon, and what that takes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.serving.contenders import Contender, Place, Row

SERVER_CORE, LOAD_CORE = 0, 1
_PATIENCE_S = 120.0
_LOOK_S = 0.01
_SCRIPT = """
local bodies, number, requests = %(bodies)s, 0, {}
init = function(args)
  for _, body in ipairs(bodies) do
    table.insert(requests, wrk.format("POST", "%(path)s", {["content-type"] = "application/json"}, body))
  end
end
request = function()
  number = number %% #requests + 1
  return requests[number]
end
done = function(summary, latency, _)
  local failed = summary.errors
  io.write(string.format('\\n{"requests": %%d, "seconds": %%f, "p50_ms": %%f, "p99_ms": %%f, "errors": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    failed.connect + failed.read + failed.write + failed.status + failed.timeout))
end
"""
_PAUSES = """
delay = function() return math.floor(%(pause_ms)f + math.random()) end
"""


@dataclass(frozen=True)
class Load:
    """What wrk saw, and what the server took meanwhile.

    Attributes
    ----------
    errors : int
        Requests without an answer, and answers other than 2xx and 3xx.
    cpu_us : float
        CPU time of all processes of the server, by request.
    mib : float
        Their resident memory at the end, summed.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float
    mib: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


@dataclass(frozen=True)
class Serving:
    """A server that answers.

    Attributes
    ----------
    ready_s : float
        From its start to its first good answer.
    """

    contender: Contender
    process: psutil.Process
    port: int
    log: Path
    ready_s: float

    def load(self, rows: Sequence[Row], connections: int, seconds: float, pause_ms: float = 0.0) -> Load:
        """Send one row a request, each connection the next one as soon as it is answered, or after a pause."""
        script = self.log.with_name("load.lua")
        script.write_text(_script(self.contender, rows, pause_ms))
        url = f"http://127.0.0.1:{self.port}"
        amount = [f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={_PATIENCE_S:.0f}s"]
        command = ["wrk", "-t1", *amount, "--latency", "-s", str(script), url]
        before = self.cpu_s()
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        cpu_us = (self.cpu_s() - before) / max(1, found["requests"]) * 1e6
        return Load(**found, cpu_us=cpu_us, mib=self.mib())

    def family(self) -> list[psutil.Process]:
        """Return its processes."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        """Return the CPU time that they have used."""
        return sum(sum(each.cpu_times()[:2]) for each in self.family())

    def mib(self) -> float:
        """Return the memory that they use."""
        return sum(each.memory_info().rss for each in self.family()) / 2**20


@contextlib.contextmanager
def serving(contender: Contender, model: Path, tools: Path, row: Row, log: Path) -> Iterator[Serving]:
    """Start a server on its core, and end it with the block."""
    place = Place(model, tools, _free_ports(3))
    command = ["taskset", "-c", str(SERVER_CORE), *map(str, contender.command(place))]
    environment = contender.environment(place)
    began = time.perf_counter()
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=model,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        ready_s = _await_answer(process, contender, place.ports[0], row, log) - began
        yield Serving(contender, psutil.Process(process.pid), place.ports[0], log, ready_s)
    finally:
        _end(process)


def stay_away() -> None:
    """Keep this process, and the load that it makes, off the server's core."""
    os.sched_setaffinity(0, {LOAD_CORE})


def _await_answer(process: subprocess.Popen[bytes], contender: Contender, port: int, row: Row, log: Path) -> float:
    deadline = time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _ask(contender, port, row) == 200:
                return time.perf_counter()
        time.sleep(_LOOK_S)
    raise SystemExit(f"{contender.path}: found no good answer; its output was:\n{log.read_text()[-3000:]}")


def _ask(contender: Contender, port: int, row: Row) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("POST", contender.path, contender.content(row), {"content-type": "application/json"})
        return connection.getresponse().status


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with all of its processes: it is the leader of their session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _script(contender: Contender, rows: Sequence[Row], pause_ms: float) -> str:
    bodies = "{" + ",".join(f"'{contender.content(row)}'" for row in rows) + "}"
    script = _SCRIPT % {"bodies": bodies, "path": contender.path}
    return script + (_PAUSES % {"pause_ms": pause_ms} if pause_ms else "")
