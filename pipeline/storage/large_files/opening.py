"""Opens what a data repository names as a remote: only where the spec allows it, on the way there as well.

A name is resolved once and connected to at the addresses that were checked, and each redirect is checked as the first
address was.
"""

from __future__ import annotations

import base64
import http.client
import shutil
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPHandler, HTTPSHandler, Request, build_opener

from pipeline.errors import InputError, TransientError
from pipeline.storage.artifacts import download
from pipeline.storage.git.credentials import split_login
from pipeline.storage.large_files.remotes import Remotes

_TIMEOUT_S = 60.0
_MISSING, _REFUSED = (404, 410), (401, 403)


@dataclass(frozen=True)
class Opener:
    """Opens addresses that stand in one place.

    Attributes
    ----------
    source : str
        Where they stand, for messages: ``.lfsconfig``.
    """

    remotes: Remotes
    source: str

    def open(self, request: Request) -> Any:
        """Send a request by HTTP.

        Raises
        ------
        InputError
            If the address, one that its host has, or one that it redirects to is not allowed.
        OSError
            If it does not answer, or refuses.
        """
        checks = (_Check(self), _Http(self), _Https(self))
        return build_opener(*checks).open(request, timeout=_TIMEOUT_S)

    def fetch(self, address: str, options: Mapping[str, Any], target: Path) -> bool:
        """Copy one file to a path; False if it is not there. Errors as of ``download``, and as of ``open``."""
        if urlsplit(address).scheme in ("http", "https"):
            return self._fetch_by_http(address, target)
        self._check(address)
        if endpoint := options.get("client_kwargs", {}).get("endpoint_url"):
            self._check(endpoint)
        return download(address, target, options)

    def _check(self, address: str) -> None:
        try:
            self.remotes.check(address, self.source)
        except OSError as error:
            raise TransientError(f"{address}: reading it failed: {error}; run again") from error

    def _fetch_by_http(self, address: str, target: Path) -> bool:
        shown, name, password = split_login(address)
        request = Request(shown)  # noqa: S310 - http or https
        if name is not None:
            request.add_unredirected_header("Authorization", basic(name, password))
        try:
            with self.open(request) as answer, target.open("wb") as draft:
                shutil.copyfileobj(answer, draft)
        except HTTPError as error:
            error.close()
            if error.code in _MISSING:
                return False
            if error.code in _REFUSED:
                raise InputError(f"{address}: reading it is refused ({error}); expected a login that may") from error
            raise TransientError(f"{address}: reading it failed: {error}; run again") from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, URLError) else error
            raise TransientError(f"{address}: reading it failed: {reason}; run again") from error
        return True


class _Check(BaseHandler):
    """Checks each address before it is asked, that of a redirect too."""

    def __init__(self, opener: Opener) -> None:
        self._opener = opener

    def http_request(self, request: Request) -> Request:
        with suppress(socket.gaierror):  # behind a proxy, names may be known to the proxy alone
            self._opener.remotes.check(request.full_url, self._opener.source)
        return request

    https_request = http_request

    def ftp_request(self, request: Request) -> Request:
        raise InputError(
            f"{self._opener.source}: found the address '{request.full_url}' where HTTP was asked; expected https:"
        )


class _Http(HTTPHandler):
    """Connects to no address but those that were checked; a proxy of this machine's own settings may be anywhere."""

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self._opener = opener

    def http_open(self, request: Request) -> http.client.HTTPResponse:
        return self.do_open(partial(_connection, http.client.HTTPConnection, _resolver(self._opener, request)), request)


class _Https(HTTPSHandler):
    """The same with TLS, whose certificate is held against the name."""

    def __init__(self, opener: Opener) -> None:
        super().__init__()
        self._opener = opener

    def https_open(self, request: Request) -> http.client.HTTPResponse:
        connect = partial(_connection, http.client.HTTPSConnection, _resolver(self._opener, request))
        return self.do_open(connect, request)


def _resolver(opener: Opener, request: Request) -> Remotes | None:
    """Return what a direct connection is held to; None for one to a proxy."""
    direct = request.host == urlsplit(request.full_url).netloc
    return opener.remotes if direct else None


def _connection(
    kind: type[http.client.HTTPConnection], remotes: Remotes | None, host: str, **options: Any
) -> http.client.HTTPConnection:
    made = kind(host, **options)
    if remotes is not None:
        made._create_connection = partial(_connect, remotes)  # type: ignore[attr-defined]  # noqa: SLF001
    return made


def _connect(remotes: Remotes, place: tuple[str, int], timeout: float, *_: Any) -> socket.socket:
    """Connect to the first address of a host that answers, all of which are allowed."""
    error = OSError(f"{place[0]} has no address")
    for family, address in remotes.resolve(*place):
        connected = socket.socket(family, socket.SOCK_STREAM)
        connected.settimeout(timeout)
        try:
            connected.connect(address)
        except OSError as failed:
            connected.close()
            error = failed
        else:
            return connected
    raise error


def basic(name: str, password: str | None) -> str:
    """Return the header of HTTP's basic authentication."""
    return "Basic " + base64.b64encode(f"{name}:{password or ''}".encode()).decode()
