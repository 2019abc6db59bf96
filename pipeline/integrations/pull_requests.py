"""A pull request is told what it would come to: one comment that is kept up to date, and a status of its commit.

Every call may be repeated: the comment is looked for before it is written, and a status replaces the one before it. So
after a failure all is done again from the start, and a comment that was written though its answer was lost is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import httpx

from pipeline.errors import InputError, ModelrailError, TransientError
from pipeline.integrations.git_hosts import Address
from pipeline.retries import attempts

_TIMEOUT_S = 30.0
_PAUSE_S = 1.0
_LONGEST_WAIT_S = 120.0
_MOST_PAGES = 50
_LONGEST_DESCRIPTION = 140
_BUSY = {408, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Status:
    """What is said of a commit.

    Attributes
    ----------
    context : str
        Its name, by which a branch's protection can require it; at most 40 characters.
    well : bool
        Whether the pull request may be merged.
    description : str
        One line; what is longer than 140 characters is cut.
    """

    context: str
    well: bool
    description: str


@dataclass(frozen=True)
class Posted:
    """What was done.

    Attributes
    ----------
    commit : str
        That has the status.
    comment : str
        Id of the comment.
    action : str
        ``created``, ``updated`` or ``unchanged``.
    """

    commit: str
    comment: str
    action: str


class BusyError(TransientError):
    """The host asks for a pause, of ``wait_s`` seconds if it says so."""

    def __init__(self, message: str, wait_s: float | None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


def publish(
    address: Address,
    token: str,
    number: int,
    marker: str,
    text: str,
    status: Status,
    sleep: Callable[[float], None] = time.sleep,
) -> Posted:
    """Write or update the comment of a pull request, and set the status of its newest commit.

    Parameters
    ----------
    marker : str
        The comment's first line, by which it is found again.
    text : str
        The rest of the comment, short enough for the host.
    sleep : callable
        What waits where the host says for how long.

    Raises
    ------
    TransientError
        The host was busy or away at every attempt, or wants a longer pause than two minutes.
    ModelrailError
        It refuses.
    """
    last: TransientError | None = None
    for _ in attempts(pause_s=_PAUSE_S):
        if isinstance(last, BusyError) and last.wait_s:
            if last.wait_s > _LONGEST_WAIT_S:
                break
            sleep(last.wait_s)
        try:
            with _Api(address, token) as api:
                return _publish(api, number, marker, text, status)
        except TransientError as error:
            last = error
    raise TransientError(str(last)) from last


def _publish(api: _Api, number: int, marker: str, text: str, status: Status) -> Posted:
    host = api.address.host
    commit = _said_at(api.ask("GET", host.pull, number=number), host.head, api.address)
    comment, action = _put_comment(api, number, marker, f"{marker}\n\n{text}")
    document = {
        "state": host.states[0] if status.well else host.states[1],
        host.context: status.context,
        "description": status.description[:_LONGEST_DESCRIPTION],
        host.url: api.address.run or api.page_of(number),
    }
    api.ask("POST", host.statuses, document, commit=commit)
    return Posted(commit, comment, action)


def _put_comment(api: _Api, number: int, marker: str, body: str) -> tuple[str, str]:
    host = api.address.host
    document = _nested(host.body, body)
    found = _find_comment(api, number, marker)
    if found is None:
        written = api.ask("POST", host.comments, document, number=number)
        return _said_at(written, ("id",), api.address), "created"
    if str(_at(found, host.body)).replace("\r\n", "\n").strip() == body.strip():
        return str(found["id"]), "unchanged"
    api.ask(host.change, host.comment, document, number=number, comment=found["id"])
    return str(found["id"]), "updated"


def _find_comment(api: _Api, number: int, marker: str) -> Mapping[str, Any] | None:
    """Find our comment: with our marker, and written by us, since anybody may write the marker."""
    marked = [
        each
        for each in api.ask_all(api.address.host.comments, number=number)
        if str(_at(each, api.address.host.body) or "").startswith(marker) and not each.get("deleted")
    ]
    if not marked:
        return None
    me = api.me()  # None is nobody: neither are those whose account is gone
    return next((each for each in marked if me and _at(each, api.address.host.author) == me), None)


class _Api:
    """The API of one host, with a token; an answer is read, or refused with what mends it."""

    def __init__(self, address: Address, token: str) -> None:
        header, prefix = address.host.authorization
        headers = {**address.host.headers, header: f"{prefix}{token}", "user-agent": "modelrail"}
        self.address = address
        try:
            self._http = httpx.Client(headers=headers, timeout=_TIMEOUT_S)
        except (ImportError, ValueError, httpx.InvalidURL) as error:  # whose message may hold the proxy's login
            raise InputError(
                "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY: found a proxy that cannot be used; expected"
                " http://HOST:PORT, and names of hosts in NO_PROXY"
            ) from error

    def __enter__(self) -> _Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def me(self) -> str | None:
        """Return whose the token is; of a token that may not ask, the account of the host's own CI system."""
        answer = self._send("GET", f"{self.address.api}{self.address.host.me}", None)
        if answer.status_code in (401, 403, 404):
            return self.address.host.bot
        return _said_at(_read(answer, "who the token belongs to"), self.address.host.name, self.address)

    def page_of(self, number: int) -> str:
        """Return an address of the pull request, for a status that must link to something."""
        return f"{self.address.api}{self._path(self.address.host.pull, number=number)}"

    def ask(self, method: str, path: str, document: Mapping[str, Any] | None = None, **names: Any) -> Any:
        """Ask for one thing."""
        return _read(self._send(method, f"{self.address.api}{self._path(path, **names)}", document), f"{method} {path}")

    def ask_all(self, path: str, **names: Any) -> list[Mapping[str, Any]]:
        """List all pages of something."""
        found: list[Mapping[str, Any]] = []
        url: str | None = f"{self.address.api}{self._path(path, **names)}?per_page=100&pagelen=100"
        for _ in range(_MOST_PAGES):
            if url is None:
                return found
            answer = self._send("GET", url, None)
            content = _read(answer, f"GET {path}")
            rows = content.get("values") if isinstance(content, dict) else content
            if not isinstance(rows, list) or not all(isinstance(each, dict) for each in rows):
                raise _unlike(self.address, "a list")
            found += rows
            url = _next(content, answer, self.address.api)
        return found

    def _path(self, path: str, **names: Any) -> str:
        return path.format(repository=self.address.host.encode(self.address.repository), **names)

    def _send(self, method: str, url: str, document: Mapping[str, Any] | None) -> httpx.Response:
        try:
            answer = self._http.request(method, url, json=document)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise InputError(
                f"{self.address.api}: found no address that can be asked ({error}); expected a URL"
            ) from error
        except httpx.TransportError as error:
            raise TransientError(
                f"{self.address.api}: found no answer ({error or type(error).__name__}); expected one: try again later"
            ) from error
        if answer.status_code in _BUSY or _is_rate_limit(answer):
            raise BusyError(
                f"{self.address.api}: found status {answer.status_code}; expected an answer: the host is busy or has"
                " enough of our requests for now: try again later",
                _wait_of(answer),
            )
        return answer


def _is_rate_limit(answer: httpx.Response) -> bool:
    """Tell a limit of requests from a right that is missing: GitHub says 403 for both."""
    spent = answer.headers.get("x-ratelimit-remaining") == "0"
    return answer.status_code == httpx.codes.FORBIDDEN and ("retry-after" in answer.headers or spent)


def _wait_of(answer: httpx.Response) -> float | None:
    """Read for how many seconds the host wants to be left alone."""
    after, reset = (answer.headers.get(each, "") for each in ("retry-after", "x-ratelimit-reset"))
    if after.isdigit():
        return float(after)
    if reset.isdigit() and answer.headers.get("x-ratelimit-remaining") == "0":
        return max(0.0, float(reset) - time.time())
    return None


def _read(answer: httpx.Response, what: str) -> Any:
    code = answer.status_code
    if code == httpx.codes.BAD_REQUEST and "Cannot transition status" in answer.text:
        return {}  # GitLab: the status is what it is to be
    if answer.is_success:
        try:
            return answer.json()
        except ValueError as error:
            raise ModelrailError(f"{answer.url}: found no JSON; expected the API of a Git host (--host)") from error
    mends = {
        httpx.codes.UNAUTHORIZED: "a token that is valid",
        httpx.codes.FORBIDDEN: "a token that may comment on pull requests and set a commit's status",
        httpx.codes.NOT_FOUND: "a repository and a pull request that the token may see",
    }
    raise ModelrailError(
        f"{answer.url.copy_with(query=None)}: {what}: found status {code} ({_said(answer)}); expected"
        f" {mends.get(httpx.codes(code) if code in list(httpx.codes) else httpx.codes.IM_A_TEAPOT, 'an answer')}"
    )


def _said(answer: httpx.Response) -> str:
    return " ".join(answer.text.split())[:200] or "no reason"


def _next(content: Any, answer: httpx.Response, api: str) -> str | None:
    """Return the address of the next page; one that leads elsewhere would be given the token, and is refused.

    Scheme and port stay those that were asked, since a host behind a proxy knows only its own.
    """
    link = content.get("next") if isinstance(content, dict) else answer.links.get("next", {}).get("url")
    if not link:
        return None
    asked = httpx.URL(api)
    url = asked.join(str(link))
    if url.host != asked.host:
        raise ModelrailError(f"{api}: found a next page at {url.host}; expected one of the same host")
    return str(url.copy_with(scheme=asked.scheme, netloc=asked.netloc))


def _said_at(document: Any, path: Sequence[str], address: Address) -> str:
    """Return what a document must say."""
    value = _at(document, path)
    if not isinstance(value, str | int):
        raise _unlike(address, f"'{'.'.join(path)}'")
    return str(value)


def _unlike(address: Address, missing: str) -> ModelrailError:
    return ModelrailError(
        f"{address.api}: found an answer without {missing}; expected the API of a Git host of the kind {address.kind}"
        " (--host)"
    )


def _at(document: Any, path: Sequence[str]) -> Any:
    for each in path:
        document = document.get(each) if isinstance(document, Mapping) else None
    return document


def _nested(path: Sequence[str], value: str) -> dict[str, Any]:
    inner: Any = value
    for each in reversed(path):
        inner = {each: inner}
    return dict(inner)
