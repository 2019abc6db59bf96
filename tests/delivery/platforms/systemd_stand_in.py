"""What `systemctl --user` and its manager do for two units, where no systemd runs.

It obeys the unit files themselves: it holds the socket that they name, passes it to ``ExecStart``, waits for
``READY=1``, runs ``ExecReload`` and makes the ``RuntimeDirectory``. It has no sandbox and limits nothing. It is
started by ``python systemd_stand_in.py FOLDER``; the commands of ``systemctl`` come over ``FOLDER/manager``.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import psutil

TIMEOUT_S = 120.0


class Manager:
    def __init__(self, folder: Path) -> None:
        self.units, self.run, self.log = folder / "units/systemd/user", folder / "run", folder / "journal"
        self.sockets: dict[str, socket.socket] = {}
        self.services: dict[str, subprocess.Popen[bytes]] = {}

    def obey(self, verb: str, *rest: str) -> tuple[int, str]:
        names = [each for each in rest if not each.startswith("--")]
        if verb == "disable" and "--now" in rest:
            verb = "stop"
        if verb in {"daemon-reload", "enable", "reset-failed"}:
            return 0, ""
        if verb == "is-active":
            active = all(each in self.sockets or self.lives(each) for each in names)
            return (0, "active") if active else (3, "inactive")
        return max(getattr(self, verb)(each) for each in names), ""

    def start(self, name: str) -> int:
        if name.endswith(".socket"):
            if name not in self.sockets:
                host, _, port = self.read(name)["Socket"]["ListenStream"].rpartition(":")
                self.sockets[name] = socket.create_server((host, int(port)), backlog=2048)
            return 0
        return 0 if self.lives(name) else self.spawn(name)

    def stop(self, name: str) -> int:
        if name in self.sockets:
            self.sockets.pop(name).close()
        if self.lives(name):
            self.services[name].terminate()
            self.services[name].wait(60)
            shutil.rmtree(self.run / name.removesuffix(".service"))
        return 0

    def restart(self, name: str) -> int:
        self.stop(name)
        return self.start(name)

    def reload(self, name: str) -> int:
        service = self.read(name)["Service"]
        pid = {"MAINPID": str(self.services[name].pid)}
        with self.log.open("ab") as log:
            return subprocess.run(
                shlex.split(service["ExecReload"]),
                env=self.environment(service) | pid,
                stdout=log,
                stderr=log,
                check=False,
            ).returncode

    def spawn(self, name: str) -> int:
        service, listener = self.read(name)["Service"], self.sockets[name.replace(".service", ".socket")]
        runtime = self.run / service["RuntimeDirectory"]
        shutil.rmtree(runtime, ignore_errors=True)
        runtime.mkdir(parents=True)
        number = listener.fileno()
        passed = f"exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 exec {service['ExecStart']}"
        ready = self.run / "notify"
        ready.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, self.log.open("ab") as log:
            channel.bind(str(ready))
            environment = self.environment(service) | {"NOTIFY_SOCKET": str(ready)}
            self.services[name] = process = subprocess.Popen(
                ["sh", "-c", passed], pass_fds=[number], env=environment, stdout=log, stderr=log
            )
            channel.settimeout(TIMEOUT_S)
            while process.poll() is None:
                if channel.recv(4096) == b"READY=1":
                    return 0
        return 1

    def environment(self, service: configparser.SectionProxy) -> dict[str, str]:
        own = dict(each.split("=", 1) for each in shlex.split(service["Environment"]))
        return {"PATH": os.environ["PATH"], "RUNTIME_DIRECTORY": str(self.run / service["RuntimeDirectory"]), **own}

    def lives(self, name: str) -> bool:
        return name in self.services and self.services[name].poll() is None

    def read(self, name: str) -> configparser.ConfigParser:
        parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(self.units / name)
        return parser


def main(folder: Path) -> None:
    manager = Manager(folder)
    (folder / "run").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(folder / "manager"))
        server.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        try:
            while True:
                answer(manager, server)
        finally:
            for child in psutil.Process().children():
                child.terminate()


def answer(manager: Manager, server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rw") as stream:
        code, said = manager.obey(*json.loads(stream.readline()))
        stream.write(json.dumps([code, said]) + "\n")


def call(folder: Path, words: list[str]) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.connect(str(folder / "manager"))
        with channel.makefile("rw") as stream:
            stream.write(json.dumps([each for each in words if each != "--user"]) + "\n")
            stream.flush()
            code, said = json.loads(stream.readline())
    sys.stdout.write(said)
    return int(code)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        sys.exit(call(Path(sys.argv[1]), sys.argv[2:]))
    main(Path(sys.argv[1]))
