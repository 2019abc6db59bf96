"""A data repository with large files as Git LFS and DVC lay them out, a spec that reads it, and a server of Git LFS."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.runs.job import Job, open_job
from pipeline.runs.request import RunRequest
from tests.conftest import git

SPEC = """
model: {{name: m, trainer: ridge, target: y}}
data: {{repository: '{repository}', files: "{files}", columns: {{x: float, y: float}}{remotes}}}
"""
LOGIN = "reader:s3cret-t0ken"


def month(number: int) -> bytes:
    return f"x,y\n{number},{number}\n".encode()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def lfs_pointer(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


def dvc_pointer(content: bytes, path: str, extra: str = "  hash: md5\n") -> str:
    return f"outs:\n- md5: {md5(content)}\n  size: {len(content)}\n{extra}  path: {path}\n"


def put(root: Path, content: bytes, layout: str = "files/md5", ending: str = "") -> Path:
    """Put a content where DVC would, below a cache or a remote."""
    digest = md5(content) + ending
    target = root / layout / digest[:2] / digest[2:]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


class Data:
    """A data repository beside a project."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.project, self.remote = folder / "data", folder / "project", folder / "remote"
        for place in (self.folder, self.project):
            place.mkdir()
            git(place, "init", "-q", "-b", "main")
        (self.project / "models").mkdir()
        self.address = str(self.folder)
        self.remotes: list[str] | None = None

    def commit(self, files: dict[str, str]) -> str:
        for path, content in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
        git(self.folder, "add", "-A")
        git(self.folder, "commit", "-q", "-m", "change")
        return git(self.folder, "rev-parse", "HEAD").strip()

    def with_remote(self, more: str = "") -> dict[str, str]:
        """Return the configuration of DVC with the folder as its remote, as DVC writes it."""
        return {".dvc/config": f"[core]\n    remote = storage\n['remote \"storage\"']\n    url = {self.remote}\n{more}"}

    def spec(self, files: str = "flights/{month}.csv") -> Path:
        path = self.project / "models" / "m.yaml"
        remotes = "" if self.remotes is None else f", remotes: {json.dumps(self.remotes)}"
        path.write_text(SPEC.format(repository=self.address, files=files, remotes=remotes))
        return path

    def open(self, commit: str | None = None, files: str = "flights/{month}.csv") -> Job:
        return open_job(RunRequest(str(self.spec(files)), data_commit=commit))


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path)


class LfsServer(ThreadingHTTPServer):
    """A server of Git LFS's batch API, behind a login; contents are served from a second path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.contents: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.failing = 0
        self.cut = False
        self.url = f"http://127.0.0.1:{self.server_port}/flights.git/info/lfs"


class _Handler(BaseHTTPRequestHandler):
    server: LfsServer

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(self.path)
        if self.headers.get("Authorization") != f"Basic {base64.b64encode(LOGIN.encode()).decode()}":
            return self._answer(401, b"{}")
        if self.server.failing:
            self.server.failing -= 1
            return self._answer(503, b"{}")
        assert self.path == "/flights.git/info/lfs/objects/batch"
        assert question["operation"] == "download"
        return self._answer(200, json.dumps({"objects": [self._find(each) for each in question["objects"]]}).encode())

    def _find(self, wanted: dict[str, str]) -> dict[str, object]:
        if wanted["oid"] not in self.server.contents:
            return wanted | {"error": {"code": 404, "message": "Object does not exist"}}
        href = f"http://127.0.0.1:{self.server.server_port}/contents/{wanted['oid']}?signature=only-for-you"
        return wanted | {"actions": {"download": {"href": href, "header": {"X-Pass": "yes"}}}}

    def do_GET(self) -> None:
        self.server.asked.append(self.path.partition("?")[0])
        if self.headers.get("X-Pass") != "yes":
            return self._answer(403, b"")
        content = self.server.contents[self.path.partition("?")[0].rpartition("/")[2]]
        if self.server.cut:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:3])
            return None
        return self._answer(200, content)

    def _answer(self, code: int, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[LfsServer]:
    with LfsServer() as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()
