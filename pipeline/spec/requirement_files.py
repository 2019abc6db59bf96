"""Requirement files: whether every line is pinned to a version and a digest."""

from __future__ import annotations

import re

_PINNED = re.compile(r"[A-Za-z0-9][\w.-]*(\[[^\]]*\])?\s*==\s*[^\s;]+")


_HASHED = re.compile(r"--hash[= ]sha(256|384|512):[0-9a-f]{64,128}")


def find_unpinned(requirements: str) -> list[str]:
    """List the lines of a requirements file, continued ones joined, that are not ``name==version --hash=…``."""
    joined = re.sub(r"\\\r?\n", " ", requirements)
    lines = (re.sub(r"(^|\s)#.*", "", line).strip() for line in joined.splitlines())
    return [line for line in lines if line and not (_PINNED.match(line) and _HASHED.search(line))]
