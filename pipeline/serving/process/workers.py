"""Server processes that share a listening socket: started, exchanged, brought back and ended together.

Only the standard library is imported: whoever watches over the workers stays small.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import DeploymentError
from pipeline.home import CHECKOUT
from pipeline.serving.lineup import Lineup, lineup_of

START_S = 60.0
"""Longest time in which a worker must load, check and warm a bundle."""
MAX_BACK_OFF_S = 10.0
"""Longest wait before a worker that keeps dying is started again."""
HEALTHY_S = 10.0
"""A worker that lived this long is started again at once."""
BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 is any free one.

    Raises
    ------
    DeploymentError
        If the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        found = error.strerror or str(error)
        raise DeploymentError(f"{host}:{port}: found {found}; expected a free port (--port; 0 is any)") from error
    return listener


def child_environment() -> dict[str, str]:
    """Build the environment in which a child imports this same package, wherever it runs."""
    paths = [str(CHECKOUT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


@dataclass(eq=False)
class Worker:
    """One server process and the socket over which it takes orders."""

    number: int
    process: subprocess.Popen[bytes]
    control: socket.socket
    born: float
    received: bytearray = field(default_factory=bytearray)
    gone: bool = False

    def order(self, **message: Any) -> None:
        """Send an order; a worker that is gone is noticed when it is tended."""
        try:
            self.control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def await_any(self, names: Iterable[str], deadline: float) -> tuple[str, Any] | None:
        """Wait for an answer with one of these names; None if the worker ended or the time (monotonic) is over."""
        while True:
            while b"\n" in self.received:
                line, _, rest = bytes(self.received).partition(b"\n")
                self.received[:] = rest
                for name, value in json.loads(line).items():
                    if name in names:
                        return name, value
            if not self.receive(deadline):
                return None

    def receive(self, deadline: float) -> bool:
        """Take in what was sent, until the deadline (monotonic); False if nothing came or the worker is gone."""
        self.control.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            chunk = self.control.recv(65536)
        except TimeoutError:
            return False
        except OSError:
            chunk = b""
        finally:
            self.control.settimeout(None)
        self.received += chunk
        self.gone = not chunk
        return bool(chunk)

    def end(self, sign: signal.Signals) -> None:
        """Send a signal, if it still runs; it is our child, so its id cannot be another's."""
        if self.process.poll() is None:
            self.process.send_signal(sign)


class Workers:
    """All workers of one deployment.

    Parameters
    ----------
    metrics : Path
        Folder for the counts that the workers share; must exist.
    log : Path or None
        File that takes the log of all; None for this process's own output.
    """

    def __init__(self, metrics: Path, log: Path | None) -> None:
        self._metrics, self._log = metrics, log
        self._live: dict[int, Worker | None] = {}
        self._draining: list[Worker] = []
        self._failures: dict[int, int] = {}
        self._due: dict[int, float] = {}
        self._lineup: Lineup = ()
        self._listener: socket.socket | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of all that run."""
        return tuple(each.process.pid for each in self._all())

    def start(self, bundles: Path | Lineup, listener: socket.socket, count: int) -> None:
        """Start `count` workers, wait until they are ready, then let those drain that were live before.

        Raises
        ------
        DeploymentError
            If one does not become ready; then all are as they were.
        """
        lineup, numbers = lineup_of(bundles), self._free_numbers(count)
        started: list[Worker] = []
        try:
            started.extend(self._spawn(number, lineup, listener) for number in numbers)
            refusal = self._await_all(started, "ready")
        except BaseException:  # a signal to end, for one; whoever catches it ends these with the others
            self._draining += started
            raise
        if refusal:
            _end_all(started, grace_s=2.0)
            raise DeploymentError(refusal)
        for worker in filter(None, self._live.values()):
            worker.order(drain=True)
            self._draining.append(worker)
        self._live = dict(zip(numbers, started, strict=True))
        self._failures.clear()
        self._due.clear()
        self._lineup, self._listener = lineup, listener

    def swap(self, bundles: Path | Lineup) -> None:
        """Exchange the model inside the running workers: no connection is touched.

        Every worker loads and warms the bundle first; only if all of them can is it made live.

        Raises
        ------
        DeploymentError
            If a worker refuses the bundle; then all go on with the old one.
        """
        lineup = lineup_of(bundles)
        living = [each for each in self._live.values() if each]
        if not living and self._listener:
            self.start(bundles, self._listener, len(self._live))
            return
        for worker in living:
            worker.order(prepare=[each.argument() for each in lineup])
        refusal = self._await_all(living, "prepared")
        if self._listener and any(worker.gone for worker in living):
            # It may have died of something else: new processes tell whether the bundle can be served.
            self.start(bundles, self._listener, len(self._live))
            return
        if refusal:
            for worker in living:
                worker.order(abort=True)
            raise DeploymentError(refusal)
        self._lineup = lineup  # from here on, a worker that is started again has the new one
        for worker in living:
            worker.order(commit=True)
        self._await_all(living, "live")

    def tend(self, timeout_s: float, *wake: socket.socket) -> None:
        """Wait at most so long for something to happen; start again what died, after a growing pause."""
        with selectors.DefaultSelector() as selector:
            for source in (*wake, *(each.control for each in self._all())):
                selector.register(source, selectors.EVENT_READ)
            soonest = min(self._due.values(), default=float("inf")) - time.monotonic()
            ready = {key.fileobj for key, _ in selector.select(max(min(timeout_s, soonest), 0))}
        for worker in self._all():
            if worker.control in ready and not worker.receive(time.monotonic() + 0.01):
                self._bury(worker)
        now = time.monotonic()
        for number in [number for number, due in self._due.items() if due <= now]:
            self._revive(number)

    def reopen_log(self) -> None:
        """Let all workers continue in a new log file, after the old one was renamed."""
        for worker in self._all():
            worker.order(reopen=str(self._log))

    def drain(self, patience_s: float) -> None:
        """Let all workers stop accepting, answer what they have and ask callers to reconnect; give up after so long."""
        for worker in self._all():
            worker.order(drain=True)
        deadline = time.monotonic() + patience_s
        for worker in self._all():
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(max(deadline - time.monotonic(), 0.01))

    def stop(self, grace_s: float) -> None:
        """End all workers; those that are not done in time are killed."""
        _end_all(self._all(), grace_s)
        self._live, self._draining = {}, []
        self._due.clear()

    def _all(self) -> list[Worker]:
        return [*filter(None, self._live.values()), *self._draining]

    def _free_numbers(self, count: int) -> list[int]:
        taken = {*self._live, *(each.number for each in self._draining)}
        return [number for number in range(len(taken) + count) if number not in taken][:count]

    def _spawn(self, number: int, lineup: Lineup, listener: socket.socket) -> Worker:
        ours, theirs = socket.socketpair()
        descriptors = (listener.fileno(), theirs.fileno())
        command = [sys.executable, "-P", "-m", "pipeline.serving.process.server"]
        command += [word for each in lineup for word in ("--bundle", each.argument())]
        command += ["--fd", str(descriptors[0]), "--control", str(descriptors[1])]
        command += ["--metrics", str(self._metrics), "--worker", str(number)]
        with theirs:
            process = _popen(command, descriptors, self._log)
        return Worker(number, process, ours, time.monotonic())

    def _await_all(self, workers: Sequence[Worker], expected: str) -> str | None:
        """Wait for the same answer of all workers; return the reason if one fails to give it."""
        deadline = time.monotonic() + START_S
        reason = None
        for worker in workers:
            answer = worker.await_any((expected, "refused"), deadline)
            if answer is None:
                ended = worker.process.poll() is not None or time.monotonic() < deadline
                found = "the server ended" if ended else f"nothing after {START_S:g} s"
                reason = reason or f"worker {worker.number}: found {found}; expected it to be {expected} (see its log)"
            elif answer[0] == "refused":
                reason = str(answer[1])
        return reason

    def _bury(self, worker: Worker) -> None:
        worker.control.close()
        worker.end(signal.SIGKILL)  # one that closed its control socket no longer obeys
        worker.process.wait()
        if worker in self._draining:
            self._draining.remove(worker)
            return
        lived = time.monotonic() - worker.born
        failures = 0 if lived > HEALTHY_S else self._failures.get(worker.number, 0) + 1
        self._failures[worker.number] = failures
        self._live[worker.number] = None
        self._due[worker.number] = time.monotonic() + back_off_s(failures)

    def _revive(self, number: int) -> None:
        del self._due[number]
        if self._lineup and self._listener:
            self._live[number] = self._spawn(number, self._lineup, self._listener)


def back_off_s(failures: int) -> float:
    """Compute the pause before the next start, in seconds: none, 0.1, 0.2, 0.4 … up to `MAX_BACK_OFF_S`."""
    return min(0.1 * 2 ** (failures - 1), MAX_BACK_OFF_S) if failures else 0.0


def _popen(command: Sequence[str], descriptors: tuple[int, ...], log: Path | None) -> subprocess.Popen[bytes]:
    environment: Mapping[str, str] = child_environment()
    if log is None:
        return subprocess.Popen(command, pass_fds=descriptors, env=environment, stdin=subprocess.DEVNULL)
    with log.open("ab") as output:
        return subprocess.Popen(
            command, pass_fds=descriptors, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


def _end_all(workers: Sequence[Worker], grace_s: float) -> None:
    for worker in workers:
        worker.end(signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    for worker in workers:
        try:
            worker.process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            worker.end(signal.SIGKILL)
            worker.process.wait()
        worker.control.close()
