"""Programs that Modelrail runs in an environment of their own: their text, and the lock of the environment.

They are part of the recipe of what they make. No module of Modelrail imports them.
"""

from __future__ import annotations

import hashlib
from functools import cache

from pipeline.home import PACKAGE

_FOLDER = PACKAGE / "steps" / "train" / "containers"
SHIPPED = frozenset({"mxnet"})
"""Trainers that are such a program."""


@cache
def shipped_files(trainer: str) -> dict[str, bytes]:
    """Read the files of a program: ``train.py`` and ``requirements.txt``."""
    return {name: (_FOLDER / trainer / name).read_bytes() for name in ("requirements.txt", "train.py")}


def shipped_digests(trainer: str | None) -> dict[str, str]:
    """Compute the digest of each file; none for a trainer that is no such program."""
    if trainer not in SHIPPED:
        return {}
    return {name: hashlib.sha256(content).hexdigest() for name, content in shipped_files(trainer).items()}
