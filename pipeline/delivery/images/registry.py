"""A container registry, by the OCI distribution specification: blobs, manifests, mounts; no daemon and no root.

Only what packaging needs is here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx

from pipeline.delivery.images.logins import TOKEN, Login, find_login
from pipeline.errors import DeploymentError, TransientError
from pipeline.spec.image_names import address_of

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_TIMEOUT_S = 30.0
_CHUNK = 1 << 20


def digest_of(content: bytes) -> str:
    """Compute a blob's digest."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Blob:
    """Content that a registry knows by its digest; that is computed once, since it takes as long as to send it."""

    content: bytes

    @cached_property
    def digest(self) -> str:
        """Return the digest by which the registry knows the blob."""
        return digest_of(self.content)


class Registry:
    """One registry, spoken to over one connection.

    Parameters
    ----------
    host : str
        As in an image's name.

    Raises
    ------
    DeploymentError
        From every method, if the registry refuses.
    TransientError
        From every method, if it does not answer.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self._http = httpx.Client(base_url=address_of(host), timeout=_TIMEOUT_S, follow_redirects=True)
        self._tokens: dict[str, str] = {}

    def manifest(self, name: str, version: str) -> tuple[bytes, str] | None:
        """Fetch a manifest's bytes and media type; None if there is none."""
        answer = self._ask("GET", f"/v2/{name}/manifests/{version}", name, headers={"accept": ", ".join(MANIFESTS)})
        if answer.status_code == 404:
            return None
        content = self._good(answer, f"{name}:{version}").content
        return content, answer.headers.get("content-type", "").split(";")[0]

    def put_manifest(self, name: str, version: str, content: bytes, media_type: str) -> None:
        """Store a manifest under a tag or its digest."""
        path = f"/v2/{name}/manifests/{version}"
        self._good(self._ask("PUT", path, name, content=content, headers={"content-type": media_type}), path)

    def has(self, name: str, digest: str) -> bool:
        """Tell whether a repository has a blob."""
        return self._ask("HEAD", f"/v2/{name}/blobs/{digest}", name).status_code == 200

    def blob(self, name: str, digest: str) -> bytes:
        """Fetch a small blob."""
        content = self._good(self._ask("GET", f"/v2/{name}/blobs/{digest}", name), f"{name}@{digest}").content
        if digest_of(content) != digest:
            raise DeploymentError(
                f"{self.host}/{name}: found another content than {digest}; expected an intact registry"
            )
        return content

    def push(self, name: str, blob: Blob) -> str:
        """Store a blob in one piece; return whether it was ``there`` already or is ``pushed`` now."""
        if self.has(name, blob.digest):
            return "there"
        begun = self._good(self._ask("POST", f"/v2/{name}/blobs/uploads/", name), f"{name}: upload")
        self._finish(name, blob.digest, begun, blob.content)
        return "pushed"

    def require_push(self, name: str) -> None:
        """Make sure that a repository takes blobs: an upload is begun, and given up at once."""
        begun = self._good(self._ask("POST", f"/v2/{name}/blobs/uploads/", name), f"{name}: upload")
        self._ask("DELETE", str(begun.request.url.join(begun.headers["location"])), name)

    def take(self, name: str, digest: str, other: Registry, source: str) -> str:
        """Bring a blob of another repository here; return ``there``, ``mounted`` or ``copied``."""
        if self.has(name, digest):
            return "there"
        query = {"mount": digest, "from": source} if other.host == self.host else {}
        names = (name, source) if query else (name,)
        begun = self._good(self._ask("POST", f"/v2/{name}/blobs/uploads/", *names, params=query), f"{name}: mount")
        if begun.status_code == 201:
            return "mounted"
        with other.stream(source, digest) as coming:
            self._finish(name, digest, begun, self._good(coming, f"{source}@{digest}").iter_bytes(_CHUNK))
        return "copied"

    def stream(self, name: str, digest: str) -> AbstractContextManager[httpx.Response]:
        """Read a blob of any size."""
        self.has(name, digest)  # so that a token is there: a stream is not asked for twice
        return self._http.stream("GET", f"/v2/{name}/blobs/{digest}", headers=self._access((name,)))

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _finish(self, name: str, digest: str, begun: httpx.Response, content: bytes | Iterable[bytes]) -> None:
        place = begun.request.url.join(begun.headers["location"]).copy_merge_params({"digest": digest})
        headers = {"content-type": "application/octet-stream"}
        self._good(self._ask("PUT", str(place), name, content=content, headers=headers), f"{name}: upload")

    def _ask(
        self, method: str, path: str, *names: str, headers: Mapping[str, str] | None = None, **more: Any
    ) -> httpx.Response:
        def send() -> httpx.Response:
            return self._http.request(method, path, headers={**(headers or {}), **self._access(names)}, **more)

        try:
            answer = send()
            return send() if answer.status_code == 401 and self._log_in(answer, names) else answer
        except httpx.HTTPError as error:
            found = str(error) or type(error).__name__
            raise TransientError(f"registry {self.host}: found {found}; expected it to answer") from error

    def _access(self, names: tuple[str, ...]) -> dict[str, str]:
        token = self._tokens.get(" ".join(names)) or self._tokens.get("")
        return {"authorization": token} if token else {}

    def _log_in(self, refused: httpx.Response, names: tuple[str, ...]) -> bool:
        """Log in as the registry asks; False if there is no other login than the one it refused."""
        scheme, _, challenge = refused.headers.get("www-authenticate", "").partition(" ")
        login, before = find_login(self.host), dict(self._tokens)
        if scheme.lower() == "bearer":
            self._tokens[" ".join(names)] = self._token(challenge, names, login)
        elif login:
            self._tokens[""] = _basic(login)
        return self._tokens != before

    def _token(self, challenge: str, names: tuple[str, ...], login: Login | None) -> str:
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if "realm" not in asked:
            raise DeploymentError(f"registry {self.host}: found the challenge '{challenge}'; expected one with a realm")
        service = asked.get("service", "")
        scopes = [f"repository:{name}:{'pull,push' if name == names[0] else 'pull'}" for name in names]
        if login and login[0] == TOKEN:
            form = {"grant_type": "refresh_token", "refresh_token": login[1], "service": service}
            answer = self._http.post(asked["realm"], data={**form, "scope": " ".join(scopes), "client_id": "modelrail"})
        else:
            query = [("service", service), *(("scope", scope) for scope in scopes)]
            answer = self._http.get(
                asked["realm"], params=query, headers={"authorization": _basic(login)} if login else {}
            )
        given = self._good(answer, "login").json()
        return f"Bearer {given.get('token') or given['access_token']}"

    def _good(self, answer: httpx.Response, what: str) -> httpx.Response:
        if answer.is_success:
            return answer
        answer.read()
        where, status = f"registry {self.host}: {what}", answer.status_code
        if status in {401, 403}:
            raise DeploymentError(
                f"{where}: found no right to it (status {status}); expected a login: 'docker login {self.host}' (or"
                " podman, buildah), or a file with one (REGISTRY_AUTH_FILE)"
            )
        if status == 429 or status >= 500:
            raise TransientError(f"{where}: found status {status}; expected an answer")
        raise DeploymentError(f"{where}: found status {status} ({answer.text[:300].strip()}); expected success")


def _basic(login: Login) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()
