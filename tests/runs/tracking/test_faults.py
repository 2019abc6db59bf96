from __future__ import annotations

import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipeline.errors import ModelrailError, TransientError
from pipeline.runs.tracking.faults import explain


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")


def ask(address: str) -> ModelrailError:
    """Return what an error of MLflow at an address is told as."""
    with pytest.raises(Exception, match=r".") as caught:
        MlflowClient(address).search_experiments()
    return explain(caught.value, address)


@contextmanager
def serving(status: int, body: bytes = b"") -> Iterator[str]:
    """Serve one answer to every request."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_that_is_not_there_is_transient() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        assert isinstance(ask(f"http://127.0.0.1:{taken.getsockname()[1]}"), TransientError)


def test_a_server_that_is_silent_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert isinstance(ask(f"http://127.0.0.1:{silent.getsockname()[1]}"), TransientError)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b'{"error_code": "TEMPORARILY_UNAVAILABLE", "message": "later"}'])
def test_a_busy_server_is_transient(status: int, body: bytes) -> None:
    with serving(status, body) as address:
        assert isinstance(ask(address), TransientError)


def test_what_a_server_refuses_is_not_transient_whatever_its_words() -> None:
    body = b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "Connection timed out 503 database is locked"}'
    with serving(400, body) as address:
        assert not isinstance(ask(address), TransientError)


def test_a_locked_database_is_transient_and_a_broken_one_is_not(tmp_path: Path) -> None:
    locked, broken = tmp_path / "locked.db", tmp_path / "broken.db"
    MlflowClient(f"sqlite:///{locked}").search_experiments()
    held = sqlite3.connect(locked)
    held.execute("begin exclusive")
    assert isinstance(ask(f"sqlite:///{locked}?timeout=0.1"), TransientError)
    held.close()
    broken.write_bytes(b"no database" * 100)
    assert not isinstance(ask(f"sqlite:///{broken}"), TransientError)


def test_a_database_that_may_only_be_read_is_told_by_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow makes a folder `file:` where it is
    MlflowClient(f"sqlite:///{tmp_path / 'm.db'}").search_experiments()
    address = f"sqlite:///file:{tmp_path / 'm.db'}?mode=ro&uri=true"
    with pytest.raises(Exception, match=r".") as caught:
        MlflowClient(address).create_run("0")
    told = explain(caught.value, address)
    assert "failed (OperationalError: attempt to write a readonly database)" in str(told)
    assert not isinstance(told, TransientError)
