"""A Git host in a thread, with the paths, fields and answers that each kind's own documentation describes.

It was written after the documents, not from the table that is tested: GitHub REST 2022-11-28 (pulls, issue comments,
commit statuses), GitLab v4 (merge requests, notes, statuses), Gitea 1.26 (the same as GitHub's below ``/api/v1``)
and Bitbucket Cloud 2.0 (pull requests, their comments, build statuses).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Literal

HEAD = "0123456789abcdef0123456789abcdef01234567"
ME, OTHER = "modelrail-bot", "mallory"
Answer = tuple[int, Any, dict[str, str]]


@dataclass
class GitHost:
    """What a host was told, and what it answers first, before all else."""

    kind: str
    token: str = "s3cret"
    comments: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    first: list[Answer | Literal["usual", "lost"]] = field(default_factory=list)
    """How the next requests are answered: as usual, with this, or not at all though they are carried out."""
    hides_me: bool = False
    page: int = 100
    url: str = ""

    @property
    def api(self) -> str:
        return self.url + {"github": "/api/v3", "gitea": "/api/v1", "gitlab": "/api/v4", "bitbucket": "/2.0"}[self.kind]

    def bodies(self) -> list[str]:
        return [each["content"]["raw"] if self.kind == "bitbucket" else each["body"] for each in self.comments]

    def comment(self, body: str, author: str) -> dict[str, Any]:
        """Write a comment as somebody."""
        by: dict[str, Any] = {"user": {"login": author}}
        by = {"gitlab": {"author": {"username": author}}, "bitbucket": {"user": {"uuid": f"{{{author}}}"}}}.get(
            self.kind, by
        )
        text = {"content": {"raw": body}} if self.kind == "bitbucket" else {"body": body}
        self.comments.append({"id": 100 + len(self.comments), **by, **text})
        return self.comments[-1]

    def answer(self, method: str, path: str, query: str, headers: Any, body: dict[str, Any]) -> Answer:
        header = "private-token" if self.kind == "gitlab" else "authorization"
        value = {"gitea": "token s3cret", "gitlab": "s3cret"}.get(self.kind, "Bearer s3cret")
        if headers.get(header) != value:
            return 401, {"message": "Bad credentials"}, {}
        for wanted, pattern, reply in ROUTES[self.kind]:
            if method == wanted and (match := re.fullmatch(pattern, path)):
                return reply(self, body, match.groups(), query)
        return 404, {"message": f"no such route: {method} {path}"}, {}

    def pages(self, query: str) -> Answer:
        number = int(dict(re.findall(r"(\w+)=(\w+)", query)).get("page", 1))
        shown = self.comments[(number - 1) * self.page : number * self.page]
        following = f"{self.url}{self.asked[-1].split()[1].split('?')[0]}?page={number + 1}"
        more = len(self.comments) > number * self.page
        if self.kind == "bitbucket":
            return 200, {"values": shown, **({"next": following} if more else {})}, {}
        return 200, shown, {"link": f'<{following}>; rel="next"'} if more else {}


def _me(host: GitHost, _body: Any, _names: Sequence[str], _query: str) -> Answer:
    if host.hides_me:  # as GitHub does of the token of a workflow
        return 403, {"message": "Resource not accessible by integration"}, {}
    me = {"gitlab": {"username": ME}, "bitbucket": {"uuid": f"{{{ME}}}"}}
    return 200, me.get(host.kind, {"login": ME}), {}


def _pull(host: GitHost, _body: Any, names: Sequence[str], _query: str) -> Answer:
    if names[-1] != "7":
        return 404, {"message": "Not Found"}, {}
    document = {"gitlab": {"iid": 7, "sha": HEAD}, "bitbucket": {"id": 7, "source": {"commit": {"hash": HEAD[:12]}}}}
    return 200, document.get(host.kind, {"number": 7, "head": {"sha": HEAD}}), {}


def _list(host: GitHost, _body: Any, _names: Sequence[str], query: str) -> Answer:
    return host.pages(query)


def _add(host: GitHost, body: dict[str, Any], _names: Sequence[str], _query: str) -> Answer:
    text = body["content"]["raw"] if host.kind == "bitbucket" else body["body"]
    return 201, host.comment(text, "github-actions[bot]" if host.hides_me else ME), {}


def _change(host: GitHost, body: dict[str, Any], names: Sequence[str], _query: str) -> Answer:
    (found,) = [each for each in host.comments if each["id"] == int(names[-1])]
    found.update(body)
    return 200, found, {}


def _status(host: GitHost, body: dict[str, Any], names: Sequence[str], _query: str) -> Answer:
    host.statuses.append((names[-1], body))
    return 201, {"id": len(host.statuses)}, {}


def _github(prefix: str) -> list[tuple[str, str, Callable[..., Answer]]]:
    return [
        ("GET", f"{prefix}/user", _me),
        ("GET", f"{prefix}/repos/team/models/pulls/(\\d+)", _pull),
        ("GET", f"{prefix}/repos/team/models/issues/7/comments", _list),
        ("POST", f"{prefix}/repos/team/models/issues/7/comments", _add),
        ("PATCH", f"{prefix}/repos/team/models/issues/comments/(\\d+)", _change),
        ("POST", f"{prefix}/repos/team/models/statuses/([0-9a-f]+)", _status),
    ]


_MR = "/api/v4/projects/team%2Fmodels/merge_requests"
_PR = "/2.0/repositories/team/models/pullrequests"
ROUTES: dict[str, list[tuple[str, str, Callable[..., Answer]]]] = {
    "github": _github("/api/v3"),
    "gitea": _github("/api/v1"),
    "gitlab": [
        ("GET", "/api/v4/user", _me),
        ("GET", f"{_MR}/(\\d+)", _pull),
        ("GET", f"{_MR}/7/notes", _list),
        ("POST", f"{_MR}/7/notes", _add),
        ("PUT", f"{_MR}/7/notes/(\\d+)", _change),
        ("POST", "/api/v4/projects/team%2Fmodels/statuses/([0-9a-f]+)", _status),
    ],
    "bitbucket": [
        ("GET", "/2.0/user", _me),
        ("GET", f"{_PR}/(\\d+)", _pull),
        ("GET", f"{_PR}/7/comments", _list),
        ("POST", f"{_PR}/7/comments", _add),
        ("PUT", f"{_PR}/7/comments/(\\d+)", _change),
        ("POST", "/2.0/repositories/team/models/commit/([0-9a-f]+)/statuses/build", _status),
    ],
}


@contextmanager
def serve(host: GitHost) -> Iterator[GitHost]:
    """Let a host answer on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else {}
            path, _, query = self.path.partition("?")
            host.asked.append(f"{self.command} {self.path}")
            first = host.first.pop(0) if host.first else None
            usual = (
                host.answer(self.command, path, query, self.headers, body) if isinstance(first, str | None) else None
            )
            if first == "lost":
                self.close_connection = True
                return
            code, document, headers = usual or first
            content = json.dumps(document).encode()
            self.send_response(code)
            for name, value in {**headers, "content-length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        host.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()
