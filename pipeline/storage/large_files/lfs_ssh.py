"""What a repository reached by SSH says of its LFS server: where it is, and a login for a while.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/authentication.md
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from pipeline.storage.git.repository import Repository

_SCP = re.compile(r"(?P<host>(?:[^@/:]+@)?[^/:]+):(?!//)(?P<path>.+)")


@dataclass(frozen=True)
class SshAddress:
    """``git@host:path`` or ``ssh://git@host:port/path``, in its parts."""

    host: str
    path: str
    port: int | None = None


@dataclass(frozen=True)
class Grant:
    """A server's address, and the headers that open it; they are secrets."""

    href: str
    headers: Mapping[str, str] = field(repr=False)


def read_ssh_address(address: str) -> SshAddress | None:
    """Read an address of SSH; None for any other."""
    if address.startswith(("ssh://", "git+ssh://")):
        parts = urlsplit(address)
        user = f"{parts.username}@" if parts.username else ""
        return SshAddress(f"{user}{parts.hostname}", parts.path, parts.port)
    found = None if "://" in address else _SCP.fullmatch(address)
    return SshAddress(found["host"], found["path"]) if found else None


def ask_grant(address: SshAddress, repository: Repository) -> Grant | None:
    """Ask by ``git-lfs-authenticate``; None if the host does not answer or has no such command."""
    command = f"git-lfs-authenticate {shlex.quote(address.path)} download"
    answer = repository.run_over_ssh(address.host, address.port, command)
    try:
        found = json.loads(answer.output) if answer.succeeded else {}
    except ValueError:
        return None
    return Grant(str(found["href"]), found.get("header") or {}) if found.get("href") else None
