"""A data repository behind a login: runs in Airflow fetch it with an Airflow connection, and leave no trace of it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.home import CHECKOUT

from .conftest import Data

TOKEN = "s3cret-t0ken"
PROBE = Path(__file__).with_name("private_probe.py")


class Guarded(SimpleHTTPRequestHandler):
    """Serves files to who knows the token."""

    def do_GET(self) -> None:
        expected = base64.b64encode(f"reader:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") == f"Basic {expected}":
            super().do_GET()
            return
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="data"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def address(data: Data) -> Iterator[str]:
    """Serve a repository with one month, read-only and behind a login."""
    data.month(1)
    data.git("update-server-info")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Guarded, directory=str(data.folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/.git"
        server.shutdown()
        thread.join()


def trace_of(data: Data) -> Path:
    """Where git writes every argument that it, and all that it starts, is given."""
    return data.models.parents[1] / "trace"


def open_in_a_task(data: Data, address: str, connection: str) -> subprocess.CompletedProcess[str]:
    """Open the job of a spec as the task of a run does."""
    spec = data.models / "m.yaml"
    spec.write_text(
        "model: {name: m, trainer: ridge, target: y}\n"
        f"data: {{repository: '{address}', {connection}files: 'data/{{month}}.csv', columns: {{x: float, y: float}}}}\n"
    )
    secret = {"conn_type": "git", "login": "reader", "password": TOKEN}
    environment = os.environ | {
        "AIRFLOW_HOME": str(data.models.parents[1] / "airflow"),
        "PYTHONPATH": os.pathsep.join(["dags", "plugins"]),  # as Airflow does
        "AIRFLOW_CONN_FLIGHTS_GIT": json.dumps(secret),
        "GIT_TRACE": str(trace_of(data)),
    }
    command = [sys.executable, str(PROBE), str(spec)]
    return subprocess.run(command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_a_task_fetches_private_data_with_the_connection_and_shows_the_token_nowhere(data: Data, address: str) -> None:
    done = open_in_a_task(data, address, "connection: flights_git, ")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"partitions": ["2013-01"], "left": []}
    trace = trace_of(data).read_text()
    assert "clone" in trace
    assert "fetch" in trace
    assert TOKEN not in trace + done.stdout + done.stderr
    texts = [path.read_bytes() for path in data.models.parent.rglob("*") if path.is_file()]
    assert all(TOKEN.encode() not in text for text in texts)


def test_without_the_connection_the_repository_stays_closed(data: Data, address: str) -> None:
    done = open_in_a_task(data, address, "")
    assert done.returncode != 0
    assert "data.repository" in done.stderr
