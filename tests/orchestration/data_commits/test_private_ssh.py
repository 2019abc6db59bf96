"""A data repository behind SSH, on a real server: a task has the key of an Airflow connection, and no one else has."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.home import CHECKOUT
from tests.ssh import needs_sshd, ssh_server
from tests.storage.large_files.conftest import LOGIN, LfsServer, lfs_pointer, month, server

from .conftest import Data

__all__ = ["server"]

pytestmark = needs_sshd
PROBE = Path(__file__).with_name("private_probe.py")


@dataclass(frozen=True)
class Host:
    """An SSH server on this machine, whom it lets in, and where it looks for commands."""

    port: int
    key: Path
    commands: Path
    known: Path

    def address(self, folder: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{folder}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    folder = tmp_path / "ssh"
    (folder / "bin").mkdir(parents=True)
    with ssh_server(folder, {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}) as port:
        yield Host(port, folder / "user", folder / "bin", folder / "known_hosts")


def open_in_a_task(
    data: Data, host: Host, *read: str, key: str = "private_key", remotes: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Open the job of a spec as the task of a run does, and read some partitions."""
    spec = data.models / "m.yaml"
    named = f", remotes: {json.dumps(remotes)}" if remotes else ""
    spec.write_text(
        "model: {name: m, trainer: ridge, target: y}\n"
        f"data: {{repository: '{host.address(data.folder)}', connection: flights_git, "
        f"files: 'data/{{month}}.csv', columns: {{x: float, y: float}}{named}}}\n"
    )
    secret = {"private_key": host.key.read_text(), "key_file": str(host.key), "none": None}[key]
    options = {"strict_host_key_checking": "accept-new", "known_hosts_file": str(host.known)}
    extra = options | ({key: secret} if secret else {})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")} | {
        "AIRFLOW_HOME": str(data.models.parents[1] / "airflow"),
        "HOME": str(host.known.parent),
        "PYTHONPATH": os.pathsep.join(["dags", "plugins"]),
        "AIRFLOW_CONN_FLIGHTS_GIT": json.dumps({"conn_type": "git", "extra": extra}),
        "GIT_TRACE": str(data.models.parents[1] / "trace"),
    }
    command = [sys.executable, str(PROBE), str(spec), *read]
    return subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("key", ["private_key", "key_file"])
def test_a_task_fetches_data_by_ssh_with_the_key_of_the_connection(data: Data, host: Host, key: str) -> None:
    data.month(1)
    done = open_in_a_task(data, host, key=key)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"partitions": ["2013-01"], "left": []}
    trace = (data.models.parents[1] / "trace").read_text()
    assert "ssh" in trace
    secret = host.key.read_text().splitlines()[1]
    assert secret not in trace + done.stdout + done.stderr
    assert all(secret.encode() not in path.read_bytes() for path in data.models.parent.rglob("*") if path.is_file())


def test_without_the_key_the_repository_stays_closed(data: Data, host: Host) -> None:
    data.month(1)
    done = open_in_a_task(data, host, key="none")
    assert done.returncode != 0
    assert "Permission denied" in done.stderr
    assert "data.repository" in done.stderr


def test_the_key_opens_the_lfs_server_that_the_host_names(data: Data, host: Host, server: LfsServer) -> None:
    import base64

    data.commit({"data/2013-01.csv": lfs_pointer(month(1))})
    server.contents = {hashlib.sha256(month(1)).hexdigest(): month(1)}
    login = f"Basic {base64.b64encode(LOGIN.encode()).decode()}"
    granted = host.commands / "git-lfs-authenticate"
    answer = json.dumps({"href": server.url, "header": {"Authorization": login}})
    granted.write_text(f"#!/bin/sh\n[ \"$1 $2\" = '{data.folder} download' ] && echo '{answer}'\n")
    granted.chmod(0o755)
    remotes = [f"ssh://127.0.0.1:{host.port}", f"http://127.0.0.1:{server.server_port}"]
    done = open_in_a_task(data, host, "2013-01", remotes=remotes)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1])["read"] == [month(1).decode()]
    assert login not in done.stdout + done.stderr
