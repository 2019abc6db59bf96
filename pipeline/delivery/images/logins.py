"""Logins to container registries, from where Docker, Podman and Buildah keep them.

A Kubernetes secret of the type ``kubernetes.io/dockerconfigjson`` holds such a file too: mount it, and name it by
``REGISTRY_AUTH_FILE``.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import InputError
from pipeline.messages import quote
from pipeline.spec.image_names import DOCKER_HUB

TOKEN = "<token>"  # noqa: S105 - Docker's mark
"""As a user's name: what stands for the password is an identity token."""
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_TIMEOUT_S = 30.0

Login = tuple[str, str]


def find_login(host: str) -> Login | None:
    """Find a user and a password (or `TOKEN` and a token) for a registry.

    Raises
    ------
    InputError
        If a configuration is broken, or names a program that is not there.
    """
    found = (_find_in(file, _read(file), host) for file in _files())
    return next((login for login in found if login), None)


def _files() -> list[Path]:
    named = os.environ.get("REGISTRY_AUTH_FILE")
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    docker = os.environ.get("DOCKER_CONFIG")
    files = [Path(runtime, "containers/auth.json"), Path(docker) if docker else Path.home() / ".docker"]
    return [*([Path(named)] if named else []), files[0], files[1] / "config.json"]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: found {error}; expected the JSON that 'docker login' writes") from error
    parts = (content, *(content.get(name, {}) for name in ("auths", "credHelpers"))) if _is_object(content) else ([],)
    if not all(map(_is_object, parts)):
        raise InputError(f"{file}: found a list or a value; expected the objects that 'docker login' writes")
    return dict(content)


def _is_object(content: Any) -> bool:
    return isinstance(content, dict)


def _find_in(file: Path, config: Mapping[str, Any], host: str) -> Login | None:
    key = _DOCKER_HUB_KEY if host == DOCKER_HUB else host
    program = config.get("credHelpers", {}).get(key) or config.get("credsStore")
    if program and (login := _ask_program(str(program), key)):
        return login
    entries = config.get("auths", {})
    named = [name for name in entries if _host_of(name) == host]
    name = host if host in entries else next(iter(named), None)
    return _login_of(file, name, entries[name]) if name else None


def _host_of(name: str) -> str:
    """Return the registry that an entry is for: older programs wrote its address (``https://HOST/v1/``)."""
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DOCKER_HUB if host == f"index.{DOCKER_HUB}" else host


def _login_of(file: Path, name: str, entry: Any) -> Login | None:
    try:
        if token := entry.get("identitytoken"):
            return TOKEN, str(token)
        if not entry.get("auth"):
            return None  # a program keeps it
        user, colon, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    except (AttributeError, TypeError, ValueError):
        colon = ""
    if not colon:
        raise InputError(f"{file}: auths: found no login for {quote(name)}; expected what 'docker login' writes")
    return user, password


def _ask_program(program: str, key: str) -> Login | None:
    """Ask a credential helper, by Docker's protocol."""
    command = f"docker-credential-{program}"
    try:
        done = subprocess.run(
            [command, "get"], input=key, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise InputError(f"found no program {command}, which Docker's configuration names; expected it") from error
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{command}: found no answer in {_TIMEOUT_S:g} s; expected a login for {key}") from error
    if done.returncode:
        return None
    try:
        found = json.loads(done.stdout)
        return str(found["Username"]), str(found["Secret"])
    except (KeyError, TypeError, ValueError) as error:  # what it said may be a secret
        raise InputError(f"{command}: found an answer without a login; expected JSON with Username, Secret") from error
