"""What the last run of each step looked like: why a step must run again, and for how long, is told from it.

These are hints of this machine: the plan is the same without them, only less well explained.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_history(state: Path, model: str) -> dict[str, Any]:
    """Give ``step`` or ``step/partition`` → its last recipe, seconds and input bytes; empty if nothing ran yet."""
    try:
        return dict(json.loads(_path(state, model).read_bytes()))
    except (FileNotFoundError, ValueError):
        return {}


def remember(state: Path, model: str, entries: Mapping[str, Any]) -> None:
    """Add entries; several processes may do so at once."""
    path = _path(state, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(read_history(state, model) | dict(entries)), "utf-8")
        draft.replace(path)


def _path(state: Path, model: str) -> Path:
    return state / "history" / f"{model}.json"
