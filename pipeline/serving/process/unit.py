"""The server as a systemd unit: systemd holds its socket, and ``systemctl reload`` exchanges the release.

``python -m pipeline.serving.process.unit LINK --workers N`` serves the release that a link leads to, on the socket that
systemd passes. On SIGHUP it follows the link anew: the workers load and warm that release next to the live one, and no
connection is touched. ``--reload``, which the unit's ``ExecReload`` runs, sends SIGHUP and waits: it fails, with the
reason, if the release is refused; then the one before is still live. What is live stands in ``live.json`` in the unit's
``RuntimeDirectory``.

At the end, the workers first stop accepting: callers that connect then wait in systemd's socket for the next process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import DeploymentError, InputError
from pipeline.serving.lineup import lineup_of
from pipeline.serving.process.signals import Signals
from pipeline.serving.process.workers import START_S, Workers
from pipeline.serving.settings import settings_from

LIVE = "live.json"
LEAVE_S = 3.0
"""Longest time in which callers may take their last answers before their connections are closed."""
_FIRST_DESCRIPTOR = 3
"""The first of the sockets that systemd passes (``sd_listen_fds(3)``)."""


class Unit:
    """One server, from systemd's start to its SIGTERM.

    Parameters
    ----------
    link : Path
        Leads to the folder of the release.
    folder : Path
        Its ``RuntimeDirectory``.
    workers : int
        Server processes.
    """

    def __init__(self, link: Path, folder: Path, workers: int) -> None:
        self._link, self._folder, self._count = link, folder, workers
        metrics = folder / "metrics"
        metrics.mkdir(exist_ok=True)
        self._workers = Workers(metrics, None)
        self._signals = Signals()
        self._live: dict[str, Any] = {"answered": 0}

    def start(self, listener: socket.socket) -> None:
        """Serve the release, and tell systemd so.

        Raises
        ------
        DeploymentError
            If it cannot be served.
        """
        self._signals.listen()
        bundle = self._bundle()
        self._workers.start(lineup_of(bundle), listener, self._count)
        self._record(bundle)
        notify("READY=1")

    def run(self) -> None:
        """Watch until SIGTERM."""
        while not self._signals.ends:
            self._workers.tend(1.0, self._signals.wake)
            self._signals.clear()
            if self._signals.take_hangup():
                self._follow()

    def stop(self) -> None:
        """End all workers; they answer what they have."""
        self._workers.drain(LEAVE_S)
        self._workers.stop(settings_from().drain_s)

    def _follow(self) -> None:
        bundle = self._bundle()
        try:
            self._workers.swap(lineup_of(bundle))
        except DeploymentError as error:
            self._live |= {"answered": self._live["answered"] + 1, "error": str(error)}
            write_live(self._folder, self._live)
        else:
            self._live["answered"] += 1
            self._record(bundle)

    def _bundle(self) -> Path:
        # resolved, so that a worker that is started again has what went live, wherever the link leads by then
        return self._link.resolve()

    def _record(self, bundle: Path) -> None:
        release = json.loads((bundle / "release.json").read_bytes())
        scheme = "https" if settings_from().tls_certificate_file else "http"
        facts = {"version": str(release["version"]), "bundle": bundle.name, "scheme": scheme, "error": None}
        self._live |= facts
        write_live(self._folder, self._live)
        notify(f"STATUS={release.get('model', '')} {release['version']}")


def write_live(folder: Path, content: Mapping[str, Any]) -> None:
    """Write what is live whole: a reader sees the old record or the new one."""
    temporary = folder / f".{LIVE}"
    temporary.write_text(json.dumps(content))
    temporary.replace(folder / LIVE)


def notify(message: str) -> None:
    """Tell systemd something (``sd_notify(3)``); nothing without systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A manager that does not listen is no reason to end a server that answers.
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address.startswith("@") else address)
        channel.sendall(message.encode())


def inherited() -> socket.socket:
    """Take the listening socket that systemd passes.

    Raises
    ------
    DeploymentError
        If it passes none.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise DeploymentError("found no socket from systemd; expected one: start the .socket unit of this service")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)
    listener = socket.socket(fileno=_FIRST_DESCRIPTOR)
    listener.set_inheritable(False)
    return listener


def ask_to_reload(folder: Path, pid: int) -> None:
    """Let the running unit follow its link, and wait until it has.

    Raises
    ------
    DeploymentError
        If it refuses the release, or does not answer.
    """
    before = _read_live(folder)["answered"]
    os.kill(pid, signal.SIGHUP)
    deadline = time.monotonic() + 2 * START_S
    while time.monotonic() < deadline:
        live = _read_live(folder)
        if live["answered"] != before:
            if live["error"]:
                raise DeploymentError(live["error"])
            return
        time.sleep(0.02)
    raise DeploymentError(f"found no answer of process {pid} after {2 * START_S:g} s; expected the release live")


def _read_live(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / LIVE).read_bytes())
    return content


def _serve(link: Path, folder: Path, workers: int) -> None:
    unit = Unit(link, folder, workers)
    try:
        unit.start(inherited())
        unit.run()
    finally:
        notify("STOPPING=1")
        unit.stop()


def main(arguments: list[str] | None = None) -> int:
    """Serve, or ask for a reload; the exit code is 1 if that is refused."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.serving.process.unit", description="Serve under systemd.")
    parser.add_argument("link", type=Path, nargs="?", help="link to the folder of the release")
    parser.add_argument("--workers", type=int, default=1, help="server processes")
    parser.add_argument("--reload", action="store_true", help="let the running unit (MAINPID) follow its link")
    options = parser.parse_args(arguments)
    try:
        folder = Path(os.environ["RUNTIME_DIRECTORY"])
        if options.reload:
            ask_to_reload(folder, int(os.environ["MAINPID"]))
        else:
            _serve(options.link, folder, options.workers)
    except KeyError as error:
        sys.stderr.write(f"found no {error} in the environment; expected to be run by systemd\n")
        return 1
    except (DeploymentError, InputError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
