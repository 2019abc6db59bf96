"""A real SSH server on this machine, for as long as a test needs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.ports import free_port

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(SSHD is None, reason="no SSH server: apt-get install openssh-server")


@contextmanager
def ssh_server(folder: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """Serve on a free port of loopback, and give it; the key ``folder/user`` opens it, for this test's own user."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    port = free_port()
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "SetEnv": " ".join(f'"{name}={value}"' for name, value in environment.items()),
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where Debian's server puts its unprivileged half
    with (folder / "log").open("w") as log:
        process = psutil.Popen([str(SSHD), "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        wait_for(process, port, folder / "log")
        yield port
    finally:
        for each in [*process.children(recursive=True), process]:
            each.terminate()
        process.wait(10)


def wait_for(process: psutil.Popen, port: int, log: Path) -> None:
    for _ in range(200):
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.is_running(), log.read_text()
        psutil.cpu_percent(0.05)
    raise AssertionError(log.read_text())
