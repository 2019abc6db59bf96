"""The way to an API server, which can be cut."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from ruamel.yaml import YAML


@contextmanager
def cut_off(folder: Path) -> Iterator[tuple[Path, threading.Event]]:
    """Yield a kubeconfig whose way leads through this process, and the event that cuts it for as long as it is set."""
    config = YAML(typ="safe").load(Path(os.environ["KUBECONFIG"]))
    (known,) = config["clusters"]
    url = urlsplit(known["cluster"]["server"])
    cut, over = threading.Event(), threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    opened: list[socket.socket] = []

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while (chunk := source.recv(65536)) and not cut.is_set():
                target.sendall(chunk)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                caller, _ = server.accept()
                if cut.is_set():
                    caller.close()
                    continue
                ahead = socket.create_connection((url.hostname or "", url.port or 443))
                opened.extend((caller, ahead))
                for pair in ((caller, ahead), (ahead, caller)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    # Its certificate bears another name than this way's; who is at its end is not what is tried here.
    known["cluster"] = {"server": f"https://127.0.0.1:{server.getsockname()[1]}", "insecure-skip-tls-verify": True}
    path = folder / "cut.conf"
    YAML().dump(config, path)
    try:
        yield path, cut
    finally:
        over.set()
        thread.join()
        for each in (server, *opened):
            each.close()
