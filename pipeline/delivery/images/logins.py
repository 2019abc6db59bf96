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
    key = _DOCKER_HUB_KEY if host == DOCKER_HUB else host
    found = (_find_in(_read(file), key) for file in _files())
    return next((login for login in found if login), None)


def _files() -> list[Path]:
    named = os.environ.get("REGISTRY_AUTH_FILE")
    runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    docker = os.environ.get("DOCKER_CONFIG")
    files = [Path(runtime, "containers/auth.json"), Path(docker) if docker else Path.home() / ".docker"]
    return [*([Path(named)] if named else []), files[0], files[1] / "config.json"]


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content: Mapping[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: found {error}; expected the JSON that 'docker login' writes") from error
    return content


def _find_in(config: Mapping[str, Any], key: str) -> Login | None:
    program = config.get("credHelpers", {}).get(key) or config.get("credsStore")
    if program and (login := _ask_program(program, key)):
        return login
    for name in (key, f"https://{key}", f"https://{key}/v1/"):
        entry = config.get("auths", {}).get(name, {})
        if token := entry.get("identitytoken"):
            return TOKEN, token
        if "auth" in entry:
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            return user, password
    return None


def _ask_program(program: str, key: str) -> Login | None:
    """Ask a credential helper, by Docker's protocol."""
    command = f"docker-credential-{program}"
    try:
        done = subprocess.run(
            [command, "get"], input=key, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise InputError(f"found no program {command}, which Docker's configuration names; expected it") from error
    if done.returncode:
        return None
    found = json.loads(done.stdout)
    return found["Username"], found["Secret"]
