"""The server process: a socket, a model, and a supervisor to obey.

``python -m pipeline.serving.server --bundle DIR --port N`` serves in the foreground. With ``--control FD`` it takes
orders, a line of JSON each, from the process that started it, and ends when that one does:

============================  ==================================================================
``{"prepare": DIR}``          load and warm the bundle beside the live one → ``prepared``, ``refused``
``{"commit": true}``          answer with the prepared model from now on → ``live``
``{"abort": true}``           forget the prepared model
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
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from pipeline.errors import DeploymentError
from pipeline.serving.application import Application
from pipeline.serving.metrics import Meters
from pipeline.serving.model import ServedModel, load_model
from pipeline.serving.workers import Workers, listen

KEEP_ALIVE_S = 75
"""An idle connection is closed after this; longer than the usual load balancers' 60 s, so that they close first."""
DRAIN_S = 30
"""Longest wait for requests in flight when the server ends."""

_NOT_HTTP = b'{"error":"found no valid HTTP request; expected HTTP/1.1"}'


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 that also answers callers who close their sending side after the request, as `nc` does."""

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for the answer, if a whole request waits for one."""
        newest = self.cycle
        if newest is None or newest.response_complete or newest.more_body:
            return None
        newest.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, in JSON like every other refusal; `msg` says no more than that."""
        del msg
        length = str(len(_NOT_HTTP)).encode()
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: "
        self.transport.write(head + length + b"\r\n\r\n" + _NOT_HTTP)
        self.transport.close()


def serve(bundle: Path, host: str = "127.0.0.1", port: int = 8080, workers: int = 1, fd: int | None = None) -> None:
    """Serve a bundle until SIGTERM or Ctrl-C; requests in flight are answered first.

    Parameters
    ----------
    bundle : Path
        Folder of the release.
    host, port : str, int
        Where to listen.
    workers : int
        Number of processes that share the port.
    fd : int, optional
        A listening socket to use instead of `host` and `port`.

    Raises
    ------
    DeploymentError
        If the bundle cannot be served or the port is taken.
    """
    listener = socket.socket(fileno=fd) if fd is not None else listen(host, port)
    if workers > 1:
        _serve_workers(bundle, listener, workers)
        return
    model = load_model(bundle)
    _announce(bundle, listener)
    _run(model, listener, Meters(None, 0, {}), None)


def _serve_workers(bundle: Path, listener: socket.socket, count: int) -> None:
    import tempfile

    signal.signal(signal.SIGTERM, _exit)
    with tempfile.TemporaryDirectory(prefix="modelrail-metrics-") as metrics, listener:
        workers = Workers(metrics=Path(metrics), log=None)
        try:
            workers.start(bundle, listener, count)
            _announce(bundle, listener)
            while True:
                workers.tend(timeout_s=1.0)
        except (KeyboardInterrupt, SystemExit):
            return
        finally:
            workers.stop(grace_s=DRAIN_S)


def _announce(bundle: Path, listener: socket.socket) -> None:
    """Tell the terminal where it is; the log, on the other stream, stays pure JSON."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    sys.stderr.write(f"{bundle.name} answers at http://{shown}:{port}/api/predict; Ctrl-C ends it\n")


def _exit(_signal: int, _frame: FrameType | None) -> None:
    """End cleanly; uvicorn raises the signal again, once it has drained."""
    sys.exit(0)


def _run(model: ServedModel, listener: socket.socket, meters: Meters, control: socket.socket | None) -> None:
    signal.signal(signal.SIGTERM, _exit)
    _relax_garbage_collection()
    application = Application(model, meters)
    config = uvicorn.Config(
        application,
        http=Protocol,
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(server, application, listener, control))


def _relax_garbage_collection() -> None:
    """Collect seldom: nothing here makes cycles, and a large body is a million lists, each of them alive."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000, 20, 100)


async def _main(
    server: uvicorn.Server, application: Application, listener: socket.socket, control: socket.socket | None
) -> None:
    obeying = asyncio.create_task(_obey(server, application, control)) if control else None
    await server.serve(sockets=[listener])
    if obeying:
        obeying.cancel()


async def _obey(server: uvicorn.Server, application: Application, control: socket.socket) -> None:
    """Follow the supervisor's orders; end with it."""
    reader, writer = await asyncio.open_unix_connection(sock=control)
    orders = _Orders(server, application)
    while not server.started:
        await asyncio.sleep(0.002)
    writer.write(_line({"ready": application.model.version}))
    while line := await reader.readline():
        for name, value in json.loads(line).items():
            answer = await orders.table[name](value)
            if answer:
                writer.write(_line(answer))
    server.should_exit = True


class _Orders:
    """What the supervisor can ask for, and the model that waits to become live."""

    def __init__(self, server: uvicorn.Server, application: Application) -> None:
        self._server, self._application = server, application
        self._prepared: ServedModel | None = None
        self._draining: asyncio.Task[None] | None = None
        self.table: Mapping[str, Callable[[Any], Awaitable[dict[str, Any] | None]]] = {
            "prepare": self._prepare,
            "commit": self._commit,
            "abort": self._abort,
            "reopen": self._reopen,
            "drain": self._drain,
        }

    async def _prepare(self, folder: str) -> dict[str, Any]:
        try:
            self._prepared = await asyncio.to_thread(load_model, Path(folder))
        except DeploymentError as error:
            return {"refused": str(error)}
        return {"prepared": self._prepared.version}

    async def _commit(self, _: bool) -> dict[str, Any]:  # noqa: FBT001
        if self._prepared:
            self._application.swap(self._prepared)
        self._prepared = None
        return {"live": self._application.model.version}

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
        deadline = monotonic() + KEEP_ALIVE_S + DRAIN_S  # for connections that never send a request
        while self._server.server_state.connections and monotonic() < deadline:
            await asyncio.sleep(0.05)
        self._server.should_exit = True


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _serve_supervised(options: argparse.Namespace) -> None:
    """Serve for a supervisor, and tell it what went wrong if that is impossible."""
    control = socket.socket(fileno=options.control)
    try:
        model = load_model(options.bundle)
    except DeploymentError as error:
        control.sendall(_line({"refused": str(error)}))
        raise
    _run(model, socket.socket(fileno=options.fd), Meters(options.metrics, options.worker, {}), control)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipeline.serving.server", description="Serve a release.")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the release")
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
            serve(options.bundle, options.host, options.port, options.workers, options.fd)
    except DeploymentError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
