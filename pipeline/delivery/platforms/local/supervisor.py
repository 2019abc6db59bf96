"""The process that keeps a local deployment alive: holds the socket, watches the server, exchanges releases.

`deployments` starts it as ``python -m pipeline.delivery.platforms.local.supervisor FOLDER MODEL``. It leaves its
caller's session, answers with one line of JSON when the first release is live (or cannot be), and from then on acts on
SIGHUP (read ``desired.json``) and SIGTERM (drain and end). Its workers end when it does, however it ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.delivery.platforms.local.state import DESIRED, PREVIOUS, RECORD, SUPERVISOR_LOCK, read_json, write_json
from pipeline.errors import DeploymentError
from pipeline.serving.client import TLS_CERTIFICATE
from pipeline.serving.lineup import Lineup, lineup_of
from pipeline.serving.process.signals import Signals
from pipeline.serving.process.workers import Workers, listen

HOST = "127.0.0.1"
LOG_BYTES = 10 * 2**20
"""A log this long is renamed to ``server.log.1``, in place of the one before."""
GRACE_S = 35.0
"""Longest wait for requests in flight; the server itself gives up a little earlier."""
LOCK_S = 10.0
"""Longest wait for the lock of a supervisor that is about to end."""
OLD_PORT_S = 3.0
"""Longest wait for the workers of a killed supervisor to leave the port."""


def leave_caller() -> None:
    """Become a process of its own: no parent to wait for it, no terminal, no signals to its group."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


class Supervisor:
    """One deployment, from its first release to SIGTERM."""

    def __init__(self, folder: Path, model: str) -> None:
        self._folder, self._model = folder, model
        metrics = folder / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)
        metrics.mkdir()
        self._log = folder / "server.log"
        self._workers = Workers(metrics, self._log)
        self._signals = Signals()
        self._live: dict[str, Any] = {}
        self._listener: socket.socket | None = None

    def start(self) -> None:
        """Make the desired release live.

        Raises
        ------
        DeploymentError
            If it cannot be.
        """
        self._signals.listen()
        desired = read_json(self._folder / DESIRED)
        if desired is None:
            raise DeploymentError(f"{self._folder / DESIRED}: found none; expected what to deploy")
        listener = _open_port(desired, read_json(self._folder / PREVIOUS))
        self._workers.start(_lineup(desired), listener, desired["workers"])
        self._listener = listener
        self._record(desired)

    def run(self) -> None:
        """Watch until SIGTERM, or until the deployment's folder is gone: then nobody could find it to end it."""
        while not self._signals.ends and self._folder.exists():
            self._workers.tend(1.0, self._signals.wake)
            self._signals.clear()
            self._rotate_log()
            if self._signals.take_hangup():
                self._follow()

    def stop(self) -> None:
        """End all workers; they answer what they have."""
        if self._listener:
            self._listener.close()
        self._workers.stop(GRACE_S)

    def _follow(self) -> None:
        """Make the desired release live, or say why not and keep the old one."""
        desired = read_json(self._folder / DESIRED)
        if desired is None:
            return
        try:
            self._exchange(desired)
        except DeploymentError as error:
            self._live |= {"answered": desired["request"], "error": str(error)}
            write_json(self._folder / RECORD, self._live)
            return
        self._record(desired)

    def _exchange(self, desired: Mapping[str, Any]) -> None:
        lineup = _lineup(desired)
        moves = desired["requested_port"] != self._live["requested_port"]
        if not moves and all(desired[key] == self._live[key] for key in ("code", "workers")):
            self._workers.swap(lineup)
            return
        listener = _open_port(desired, None) if moves else self._listener
        if listener is None:
            raise DeploymentError("found no socket; expected a running deployment")
        try:
            self._workers.start(lineup, listener, desired["workers"])
        except DeploymentError:
            if moves:
                listener.close()
            raise
        if moves and self._listener:
            self._listener.close()
        self._listener = listener

    def _record(self, desired: Mapping[str, Any]) -> None:
        if self._listener is None:
            return
        self._live = {
            "model": self._model,
            **desired,
            "scheme": "https" if os.environ.get(TLS_CERTIFICATE) else "http",
            "port": self._listener.getsockname()[1],
            "pid": os.getpid(),
            "worker_pids": list(self._workers.pids),
            "answered": desired["request"],
            "error": None,
        }
        write_json(self._folder / RECORD, self._live)

    def _rotate_log(self) -> None:
        if self._log.exists() and self._log.stat().st_size > LOG_BYTES:
            self._log.replace(self._log.with_name("server.log.1"))
            self._workers.reopen_log()


def _lineup(desired: Mapping[str, Any]) -> Lineup:
    return lineup_of([desired["bundle"], *desired.get("beside", ())])


def _open_port(desired: Mapping[str, Any], previous: Mapping[str, Any] | None) -> socket.socket:
    """Listen on the port that was asked for, else on the one used before, else on any."""
    requested = int(desired["requested_port"])
    known = [int(previous["port"])] if previous and previous["requested_port"] == requested else []
    for port in dict.fromkeys([requested, *known]):
        patience_s = OLD_PORT_S if port in known else 0.0
        if port and (listener := _try_port(port, patience_s)):
            return listener
    return listen(HOST, 0)


def _try_port(port: int, patience_s: float) -> socket.socket | None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return listen(HOST, port)
        except DeploymentError:
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)


def _take_lock(folder: Path) -> int:
    descriptor = os.open(folder / SUPERVISOR_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise DeploymentError(f"{folder}: found another supervisor at work; expected none") from None
            time.sleep(0.005)
        else:
            return descriptor


def _answer(error: str | None) -> None:
    """Tell the caller how it went, if it still listens, and let go of its pipe."""
    with contextlib.suppress(OSError):
        os.write(1, json.dumps({"error": error}).encode() + b"\n")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def main(arguments: list[str]) -> int:
    """Supervise one deployment; the exit code is 1 if its first release could not be made live."""
    folder, model = Path(arguments[0]), arguments[1]
    leave_caller()
    try:
        _take_lock(folder)
        supervisor = Supervisor(folder, model)
        supervisor.start()
    except (DeploymentError, OSError) as error:
        _answer(str(error))
        return 1
    try:
        _answer(None)
        supervisor.run()
    finally:
        supervisor.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
