"""A real registry of images on this machine, for as long as a test needs it."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port

needs_registry = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="no registry: apt install docker-registry"
)
Start = Callable[..., str]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Yield a function that starts a registry of its own and gives its host."""
    started: list[subprocess.Popen[bytes]] = []

    def make(passwords: str | None = None) -> str:
        port = free_port()
        folder = tmp_path / f"registry-{port}"
        folder.mkdir()
        settings: dict[str, Any] = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(folder)}},
            "http": {"addr": f"127.0.0.1:{port}"},
        }
        if passwords:
            (folder / "htpasswd").write_text(passwords)
            settings["auth"] = {"htpasswd": {"realm": "here", "path": str(folder / "htpasswd")}}
        (folder / "settings.yml").write_text(json.dumps(settings))
        command = ["docker-registry", "serve", str(folder / "settings.yml")]
        with (folder / "log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{port}/v2/")
                return f"localhost:{port}"
        raise AssertionError((folder / "log").read_text())

    yield make
    for each in started:
        each.terminate()
        each.wait()
