"""The server process: a socket, a model, and a supervisor to obey.

``python -m pipeline.serving.process.server --bundle DIR --port N`` serves in the foreground; more bundles may
follow, and places such as ``canary:0.1:DIR`` and ``shadow:1.0:DIR`` (`pipeline.serving.lineup`). With
``--control FD`` it takes orders, a line of JSON each, from the process that started it, and ends when that one does:

============================  ==================================================================
``{"prepare": [PLACE, …]}``   load and warm a lineup next to the live one → ``prepared``, ``refused``
``{"commit": true}``          answer with what is prepared from now on → ``live``
``{"abort": true}``           forget what is prepared
``{"reopen": FILE}``          go on logging into FILE
``{"drain": true}``           accept nothing new, ask callers to reconnect, end when they are gone
============================  ==================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import uvicorn
import uvloop

from pipeline.errors import DeploymentError, InputError
from pipeline.serving.http.application import Application
from pipeline.serving.http.protocol import Protocol
from pipeline.serving.inference.fleet import Fleet, load_fleet
from pipeline.serving.lineup import Lineup, LineupEntry, lineup_of, parse_entry
from pipeline.serving.observing.metrics import Meters
from pipeline.serving.process.workers import Workers, listen
from pipeline.serving.settings import Settings, settings_from

_GOODBYE_S = 2.0
"""Longest time that a connection may be silent, at the end, to be told that it ends."""


def serve(
    bundles: Path | LineupEntry | Lineup,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int = 1,
    fd: int | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are answered first.

    Parameters
    ----------
    bundles : Path, LineupEntry or lineup
        Folder of the release, or of several with their parts.
    host, port : str, int
        Where to listen.
    workers : int
        Number of processes that share the port.
    fd : int, optional
        A listening socket to use instead of `host` and `port`.

    Raises
    ------
    DeploymentError
        If a bundle cannot be served or the port is taken.
    InputError
        If the settings in the environment cannot be used.
    """
    settings, lineup = settings_from(), lineup_of(bundles)
    listener = socket.socket(fileno=fd) if fd is not None else listen(host, port)
    if workers > 1:
        _serve_workers(lineup, listener, workers, settings)
        return
    meters = Meters(None, 0, {})
    fleet = load_fleet(lineup, meters, settings)
    _announce(lineup, listener, settings)
    _run(fleet, listener, meters, settings, None)


def _serve_workers(lineup: Lineup, listener: socket.socket, count: int, settings: Settings) -> None:
    import tempfile

    signal.signal(signal.SIGTERM, _exit)
    with tempfile.TemporaryDirectory(prefix="modelrail-metrics-") as metrics, listener:
        workers = Workers(metrics=Path(metrics), log=None)
        try:
            workers.start(lineup, listener, count)
            _announce(lineup, listener, settings)
            while True:
                workers.tend(timeout_s=1.0)
        except (KeyboardInterrupt, SystemExit):
            return
        finally:
            workers.stop(grace_s=settings.drain_s)


def _announce(lineup: Lineup, listener: socket.socket, settings: Settings) -> None:
    """Tell the terminal where it is; the log, on the other stream, stays pure JSON."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.tls_certificate_file else "http"
    names = ", ".join(each.bundle.name + (f" ({each.track})" if each.track != "live" else "") for each in lineup)
    sys.stderr.write(f"{names} answers at {scheme}://{shown}:{port}/api/predict; Ctrl-C ends it\n")


def _exit(_signal: int, _frame: FrameType | None) -> None:
    """End cleanly; uvicorn raises the signal again, once it has drained."""
    sys.exit(0)


def _run(
    fleet: Fleet, listener: socket.socket, meters: Meters, settings: Settings, control: socket.socket | None
) -> None:
    signal.signal(signal.SIGTERM, _exit)
    _relax_garbage_collection()
    application = Application(fleet, meters, settings)
    try:
        server = _Server(_configuration(application, settings), application)
    except OSError as error:
        raise DeploymentError(
            f"{settings.tls_certificate_file}: found {error}; expected a certificate in PEM"
        ) from error
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(server, application, listener, control))


class _Server(uvicorn.Server):
    """A server that says goodbye before it ends: a request that is on its way meanwhile would be lost."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer all, each time with ``Connection: close``, until nobody asks any more; then end."""
        self._application.draining = True
        deadline = monotonic() + _GOODBYE_S
        while self.server_state.connections and monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def _configuration(application: Application, settings: Settings) -> uvicorn.Config:
    config = uvicorn.Config(
        application,
        http=type("BoundProtocol", (Protocol,), {"application": application}),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.keep_alive_s,
        timeout_graceful_shutdown=settings.drain_s,
        ssl_certfile=settings.tls_certificate_file,
        ssl_keyfile=str(settings.tls_key_file) if settings.tls_key_file else None,
    )
    config.load()
    return config


def _relax_garbage_collection() -> None:
    """Collect seldom: nothing here makes cycles, and a large body is a million lists, each of them alive."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 100)


async def _main(
    server: uvicorn.Server, application: Application, listener: socket.socket, control: socket.socket | None
) -> None:
    obeying = asyncio.create_task(_obey(server, application, control)) if control else None
    try:
        await server.serve(sockets=[listener])
    finally:  # uvicorn raises the signal that ended it once more
        application.inference.close()
        if obeying:
            obeying.cancel()


async def _obey(server: uvicorn.Server, application: Application, control: socket.socket) -> None:
    """Follow the supervisor's orders; end with it."""
    reader, writer = await asyncio.open_unix_connection(sock=control)
    orders = _Orders(server, application)
    while not server.started:
        await asyncio.sleep(0.002)
    writer.write(_line({"ready": application.inference.fleet.default.live.model.version}))
    with contextlib.suppress(ConnectionError):  # it ended without waiting for an answer
        while line := await reader.readline():
            for name, value in json.loads(line).items():
                answer = await orders.table[name](value)
                if answer:
                    writer.write(_line(answer))
    server.should_exit = True


class _Orders:
    """What the supervisor can ask for, and the fleet that waits to become live."""

    def __init__(self, server: uvicorn.Server, application: Application) -> None:
        self._server, self._application = server, application
        self._prepared: Fleet | None = None
        self._draining: asyncio.Task[None] | None = None
        self.table: Mapping[str, Callable[[Any], Awaitable[dict[str, Any] | None]]] = {
            "prepare": self._prepare,
            "commit": self._commit,
            "abort": self._abort,
            "reopen": self._reopen,
            "drain": self._drain,
        }

    async def _prepare(self, places: list[str]) -> dict[str, Any]:
        settings, meters = self._application.settings, self._application.meters
        try:
            fleet = await asyncio.to_thread(load_fleet, lineup_of(places), meters, settings)
        except DeploymentError as error:
            return {"refused": str(error)}
        self._prepared = fleet
        return {"prepared": fleet.default.live.model.version}

    async def _commit(self, _: bool) -> dict[str, Any]:  # noqa: FBT001
        if self._prepared:
            self._application.swap(self._prepared)
        self._prepared = None
        return {"live": self._application.inference.fleet.default.live.model.version}

    async def _abort(self, _: bool) -> None:  # noqa: FBT001
        self._prepared = None

    async def _reopen(self, path: str) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(descriptor, 1)
        os.close(descriptor)

    async def _drain(self, _: bool) -> None:  # noqa: FBT001
        self._application.draining = True
        for listener in self._server.servers:
            listener.close()
        self._draining = asyncio.create_task(self._end_when_idle())

    async def _end_when_idle(self) -> None:
        """End once every caller has taken its last answer, or has been silent for as long as keep-alive lasts."""
        settings = self._application.settings
        deadline = monotonic() + settings.keep_alive_s + settings.drain_s  # for connections that never send a request
        while self._server.server_state.connections and monotonic() < deadline:
            await asyncio.sleep(0.05)
        self._server.should_exit = True


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _serve_supervised(options: argparse.Namespace) -> None:
    """Serve for a supervisor, and tell it what went wrong if that is impossible."""
    control = socket.socket(fileno=options.control)
    meters = Meters(options.metrics, options.worker, {})
    try:
        settings = settings_from()
        fleet = load_fleet(tuple(options.bundle), meters, settings)
    except (DeploymentError, InputError) as error:
        control.sendall(_line({"refused": str(error)}))
        raise
    _run(fleet, socket.socket(fileno=options.fd), meters, settings, control)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.serving.process.server", description="Serve releases.")
    parser.add_argument(
        "--bundle", type=parse_entry, action="append", required=True, help="folder of a release, or TRACK:SHARE:FOLDER"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port")
    parser.add_argument("--fd", type=int, help="a listening socket to use instead of host and port")
    parser.add_argument("--control", type=int, help="socket on which a supervisor gives orders")
    parser.add_argument("--metrics", type=Path, help="folder of the metrics that all workers share")
    parser.add_argument("--worker", type=int, default=0, help="number of this worker")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the server; the exit code is 1 if it cannot start."""
    options = _parse(arguments)
    try:
        if options.control is not None:
            _serve_supervised(options)
        else:
            serve(tuple(options.bundle), options.host, options.port, options.workers, options.fd)
    except (DeploymentError, InputError) as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
