"""The registry as pods reach it: at the node's address, and only with a login."""

from __future__ import annotations

import base64
import http.client
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LOGIN = base64.b64encode(b"pods:secret").decode()


@contextmanager
def guarded(registry: str) -> Iterator[str]:
    """Pass on what a caller with a login asks the registry; gives the URL."""

    class Guard(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("authorization") != f"Basic {LOGIN}":
                self.answer(401, {"www-authenticate": 'Basic realm="pods"'}, b"")
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
            with closing(http.client.HTTPConnection(registry, timeout=60)) as ahead:
                ahead.request(self.command, self.path, body, headers)
                found = ahead.getresponse()
                self.answer(found.status, dict(found.getheaders()), found.read())

        def answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            kept = {name.lower(): value for name, value in headers.items() if name.lower() != "transfer-encoding"}
            self.send_response_only(status)
            for name, value in ({"content-length": str(len(content))} | kept).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    for verb in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        setattr(Guard, f"do_{verb}", Guard.pass_on)
    server = ThreadingHTTPServer((os.environ["NODE_ADDRESS"], 0), Guard)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{os.environ['NODE_ADDRESS']}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
