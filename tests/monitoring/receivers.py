"""What is told is received by real servers: of HTTP, and of SMTP."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    """What a server got, and with which status it answers."""

    address: str = ""
    documents: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    mails: list[EmailMessage] = field(default_factory=list)
    to: list[str] = field(default_factory=list)
    status: int = 200


@contextmanager
def webhook() -> Iterator[Received]:
    """Receive JSON documents by HTTP."""
    got = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.documents.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            got.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(got.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got.address = f"http://127.0.0.1:{server.server_port}/hook"
        yield from _serve(server, got)


@contextmanager
def mail_server() -> Iterator[Received]:
    """Receive mails by SMTP, as far as `smtplib` speaks it without encryption."""
    got = Received()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 ready")
            while line := self.rfile.readline():
                verb = line.decode().strip().upper()
                if verb.startswith("RCPT TO:"):
                    got.to.append(line.decode().strip()[8:].strip("<> "))
                if verb == "DATA":
                    self._say("354 go on")
                    lines = iter(self.rfile.readline, b".\r\n")
                    got.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))  # type: ignore[arg-type]
                self._say("221 bye" if verb == "QUIT" else "250 ok")

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        got.address = f"smtp://127.0.0.1:{server.server_address[1]}"
        yield from _serve(server, got)


def _serve(server: socketserver.BaseServer, got: Received) -> Iterator[Received]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield got
    finally:
        server.shutdown()
        thread.join()
