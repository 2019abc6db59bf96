"""A server of Git LFS: its batch API, with the credentials that git has for its address.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md. Written on the standard library, since a client that
logs the addresses it asks would log what a signed address lets anybody read.
"""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request

from pipeline.errors import DataError, InputError, TransientError, redact
from pipeline.storage.git.credentials import split_login
from pipeline.storage.git.repository import Repository
from pipeline.storage.large_files.opening import Opener, basic
from pipeline.storage.large_files.pointers import LargeFile

_JSON = "application/vnd.git-lfs+json"
_MISSING, _REFUSED = (404, 410), (401, 403)


class LfsServer:
    """The batch API at one address."""

    def __init__(
        self,
        address: str,
        repository: Repository,
        opener: Opener,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._repository, self._opener, self._headers = repository, opener, headers or {}
        shown, name, password = split_login(address)
        self._authorization = "" if name is None else basic(name, password)
        self.address = shown.rstrip("/")

    def download(self, file: LargeFile, target: Path) -> bool:
        """Write a content to a path; False if the server does not have it."""
        found = self._ask(file)
        if error := found.get("error"):
            if error.get("code") in _MISSING:
                return False
            raise DataError(
                f"read: {file.path}: found the answer {error.get('code')} ({error.get('message')}) of the LFS server "
                f"{self.address}; expected the content: 'git lfs push --all origin' in a clone that has it"
            )
        action = found.get("actions", {}).get("download")
        if not action:
            return False
        return self._save(str(action["href"]), action.get("header") or {}, target, file)

    def _ask(self, file: LargeFile) -> Mapping[str, Any]:
        """Ask where a content is, with credentials as soon as the server wants them."""
        question = {
            "operation": "download",
            "transfers": ["basic"],
            "objects": [{"oid": file.digest, "size": file.bytes}],
            "hash_algo": "sha256",
        }
        headers = {"Accept": _JSON, "Content-Type": _JSON}
        request = Request(f"{self.address}/objects/batch", json.dumps(question).encode(), headers)  # noqa: S310
        for name, value in self._headers.items():
            request.add_unredirected_header(name, value)
        try:
            answer = json.loads(self._open(request, file, self._opener).read())
            return answer["objects"][0]  # type: ignore[no-any-return]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise DataError(
                f"read: {file.path}: found no batch API of Git LFS at {self.address}; expected one: "
                "'git config -f .lfsconfig lfs.url URL', and commit"
            ) from error

    def _save(self, href: str, headers: Mapping[str, str], target: Path, file: LargeFile) -> bool:
        request = Request(href)  # noqa: S310 - the scheme is checked where it is opened
        for name, value in headers.items():
            request.add_unredirected_header(name, value)
        own = urlsplit(href).netloc == urlsplit(self.address).netloc
        named = replace(self._opener, source=f"the answer of the LFS server {self.address}")
        try:
            with self._open(request, file, named, may_log_in=own) as answer, target.open("wb") as draft:
                shutil.copyfileobj(answer, draft)
        except FileNotFoundError:
            return False
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, file) from error
        return True

    def _open(self, request: Request, file: LargeFile, opener: Opener, *, may_log_in: bool = True) -> Any:
        """Open an address; a login is never passed on to where it redirects to."""
        if request.type not in ("http", "https"):
            raise InputError(f"Git LFS: found an address of the kind '{request.type}:'; expected https: (lfs.url)")
        if may_log_in and self._authorization and not request.has_header("Authorization"):
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            return opener.open(request)
        except HTTPError as error:
            error.close()
            if error.code == 401 and may_log_in and not self._authorization and self._log_in():
                return self._open(request, file, opener)
            raise self._explain(error, file) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error, file) from error

    def _log_in(self) -> bool:
        """Ask git for a login, as it would for a fetch; tell whether there is one."""
        parts = urlsplit(self.address)
        question = f"protocol={parts.scheme}\nhost={parts.netloc}\npath={parts.path.lstrip('/')}\n\n"
        answer = self._repository.ask_for_login(question)
        found = dict(line.split("=", 1) for line in answer.output.splitlines() if "=" in line)
        if answer.succeeded and found.get("password"):
            self._authorization = basic(found.get("username", ""), found["password"])
        return bool(self._authorization)

    def _explain(self, error: HTTPError, file: LargeFile) -> Exception:
        if error.code in _MISSING and "/objects/batch" not in error.url:
            return FileNotFoundError(file.path)
        if error.code in _REFUSED:
            return InputError(
                f"read: {file.path}: found the answer {error.code} of the LFS server {self.address}; expected a login "
                "that it accepts (data.connection in Airflow, git's credential.helper elsewhere)"
            )
        if error.code in _MISSING:
            return DataError(
                f"read: {file.path}: found no LFS server at {self.address} ({error.code}); expected one: "
                "'git config -f .lfsconfig lfs.url URL', and commit"
            )
        return TransientError(f"read: {file.path}: the LFS server {self.address} answered {error.code}; run again")

    def _unreachable(self, error: Exception, file: LargeFile) -> TransientError:
        reason = error.reason if isinstance(error, URLError) else error
        return TransientError(f"read: {file.path}: the LFS server {redact(self.address)} did not answer: {reason}")
