"""The records of a local deployment, and how to tell whether they are still true.

``deployments/MODEL/`` (or ``MODEL#ENVIRONMENT/``) holds

===================  ==========================================================================
``supervisor.lock``  locked for as long as the supervisor lives; the kernel releases it, whatever ends it
``deployment.json``  what is live, written by the supervisor
``previous.json``    the same of the supervisor before, for its port
``desired.json``     what the supervisor shall make live, written by `deploy`
``deploy.lock``      held by the one `deploy` or `stop` that is at work
``rollout.lock``     held by the one that tries a canary, for as long as it takes
``rollout.json``     how far the canary is, for whoever goes on with it
``server.log``       requests, a line of JSON each; the older half is ``server.log.1``
===================  ==========================================================================

Only the standard library is imported, and little of it: an unchanged run passes through here.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORD, PREVIOUS, DESIRED = "deployment.json", "previous.json", "desired.json"
SUPERVISOR_LOCK, DEPLOY_LOCK = "supervisor.lock", "deploy.lock"
ROLLOUT, ROLLOUT_LOCK = "rollout.json", "rollout.lock"


def name_of(model: str, environment: str | None) -> str:
    """Name a deployment: on one machine each environment has its own, ``MODEL#ENVIRONMENT``, as in a cluster."""
    return f"{model}#{environment}" if environment else model


def folder_of(model: str, state: Path) -> Path:
    """Return the folder of a model's deployment."""
    return state.resolve() / "deployments" / model


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a record; None if there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a record whole: a reader sees the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=1))
    temporary.replace(path)


def supervisor_lives(folder: Path) -> bool:
    """Tell whether the supervisor runs, by the lock that the kernel takes from it when it ends."""
    try:
        descriptor = os.open(folder / SUPERVISOR_LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock file; wait for another holder, or raise BlockingIOError. The kernel frees a killed holder's lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
