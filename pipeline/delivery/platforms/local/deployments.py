"""Make a release live on this machine: a supervised process on a loopback port.

The supervisor holds the listening socket and outlives its caller. Another release of the model is exchanged inside
the running server, so that no connection is dropped; after a change of the server's own code (or of the number of
workers, or of the port) new processes take over and the old ones answer what they have.

Only the standard library is imported here, and `subprocess` only when a process must be started: an unchanged
deployment is confirmed in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.delivery.platforms.local.state import (
    DEPLOY_LOCK,
    DESIRED,
    PREVIOUS,
    RECORD,
    folder_of,
    locked,
    read_json,
    supervisor_lives,
    write_json,
)
from pipeline.errors import DeploymentError, InputError
from pipeline.home import PACKAGE

ANSWER_S = 120.0
"""Longest wait for the supervisor to make a release live, or to refuse it."""
STOP_S = 45.0
"""Longest wait for requests in flight when a deployment is stopped; then its supervisor is killed."""
_POLL_S = 0.005


class ChangedError(DeploymentError):
    """Somebody else has deployed meanwhile."""


@dataclass(frozen=True)
class Deployment:
    """A release that is live.

    Attributes
    ----------
    address : str
        Where it answers, such as ``http://127.0.0.1:8080``.
    pid : int
        Process id of the supervisor.
    replaced : str or None
        The version that was live before this deployment, if it was another.
    note : str or None
        Something the user should know, such as that another port had to be taken.
    """

    model: str
    version: str
    address: str
    port: int
    pid: int
    bundle: str
    beside: tuple[str, ...] = ()
    replaced: str | None = None
    note: str | None = None


def deploy(
    bundle: Path,
    *,
    model: str,
    port: int,
    state: Path,
    workers: int = 1,
    beside: Sequence[str] = (),
    instead_of: Deployment | None = None,
) -> Deployment:
    """Make a bundle live, or confirm that it is.

    Parameters
    ----------
    bundle : Path
        Folder of the release; it must stay, since a crashed server is started from it again.
    model : str
        Name of the deployment.
    port : int
        Port on 127.0.0.1; if it is taken (or 0) any free one is used, and the note says so.
    state : Path
        Folder of all local state.
    workers : int
        Server processes that share the port.
    beside : sequence of str
        Canaries and shadows of the bundle, as `pipeline.serving.lineup` writes them.
    instead_of : Deployment, optional
        What must still be live, with the same further tracks.

    Raises
    ------
    DeploymentError
        If the bundle cannot be served, or something else is live than it should replace; what was live stays live.
    InputError
        If the model's name cannot be that of a folder.
    """
    _check_name(model)
    folder = folder_of(model, state)
    with locked(folder / DEPLOY_LOCK):
        desired = _desired(bundle.resolve(), port, workers, beside)
        current = _record(folder)
        if instead_of:
            _refuse_other(current, instead_of)
        if current is None:
            started = _start(folder, model, desired)
            return _deployment(started)
        if _is_same(current, desired):
            return _deployment(current)
        changed = _ask(folder, current, desired)
        before = str(current["version"])
        return replace(_deployment(changed), replaced=None if before == changed["version"] else before)


def live(model: str, state: Path) -> Deployment | None:
    """Return what is live of a model, or None; a dead supervisor's record does not count."""
    record = _record(folder_of(model, state), wait_s=0.0)
    return _deployment(record) if record else None


def settled(model: str, state: Path) -> Deployment | None:
    """Return what is live once the last request is done or refused, even if the process that made it was killed."""
    folder = folder_of(model, state)
    if not folder.is_dir():
        return None
    with locked(folder / DEPLOY_LOCK):
        record, asked = _record(folder), read_json(folder / DESIRED)
        if record and asked and record["answered"] != asked["request"]:
            with contextlib.suppress(DeploymentError):  # then what was live stays live
                _ask(folder, record, asked)
    return live(model, state)


def deployments(state: Path) -> tuple[Deployment, ...]:
    """List everything that is live, by model."""
    folders = sorted(each.parent for each in state.resolve().glob(f"deployments/*/{RECORD}"))
    return tuple(found for each in folders if (found := live(each.name, state)))


def live_by_environment(model: str, state: Path) -> dict[str | None, Deployment | None]:
    """List the environments that a model was ever deployed to here, each with what is live now, or None.

    The environment None is the spec as it is, as for `name_of`.
    """
    names = sorted(each.name for each in state.resolve().glob("deployments/*"))
    mine = [name for name in names if name.partition("#")[0] == model]
    return {name.partition("#")[2] or None: live(name, state) for name in mine}


def stop(model: str, state: Path) -> Deployment | None:
    """End a deployment and all its processes; requests in flight are answered first.

    Returns
    -------
    Deployment or None
        What was live.
    """
    folder = folder_of(model, state)
    if not folder.is_dir():
        return None
    with locked(folder / DEPLOY_LOCK):
        record = _record(folder)
        if record is None:
            return None
        for sign, patience_s in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, 5.0)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(record["pid"]), sign)
            if _wait_until_dead(folder, patience_s):
                return _deployment(record)
    raise DeploymentError(f"{model}: found process {record['pid']} alive after SIGKILL; expected it to end")


def stop_all(state: Path) -> tuple[Deployment, ...]:
    """End every deployment; return what was live."""
    names = sorted(each.parent.name for each in state.resolve().glob("deployments/*/supervisor.lock"))
    return tuple(stopped for name in names if (stopped := stop(name, state)))


def code_fingerprint() -> str:
    """Return a fingerprint of the server's code: path, size and time of each of its files."""
    inside = (each for wing in ("serving", "model") for each in (PACKAGE / wing).rglob("*"))
    files = sorted(each for each in inside if each.suffix in (".py", ".html"))
    stats = [(str(each.relative_to(PACKAGE)), (stat := each.stat()).st_size, stat.st_mtime_ns) for each in files]
    return json.dumps([sys.executable, str(PACKAGE), stats])


def _check_name(model: str) -> None:
    if not model or model.startswith(".") or "/" in model or "\0" in model:
        raise InputError(f"deployment: found the name {model!r}; expected a model's name")


def _desired(bundle: Path, port: int, workers: int, beside: Sequence[str]) -> dict[str, Any]:
    try:
        release = (bundle / "release.json").read_bytes()
        version = str(json.loads(release)["version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DeploymentError(f"{bundle}: found {error!r}; expected a bundle with its release.json") from error
    return {
        "request": os.urandom(8).hex(),
        "bundle": str(bundle),
        "version": version,
        "release": release.decode(errors="replace"),
        "requested_port": port,
        "workers": workers,
        "beside": list(beside),
        "code": code_fingerprint(),
    }


def _is_same(current: Mapping[str, Any], desired: Mapping[str, Any]) -> bool:
    keys = ("release", "requested_port", "workers", "code")
    moved = current["bundle"] != desired["bundle"] and not Path(current["bundle"], "release.json").exists()
    alike = all(current[key] == desired[key] for key in keys) and current.get("beside", []) == desired["beside"]
    return alike and not moved


def _refuse_other(current: Mapping[str, Any] | None, expected: Deployment) -> None:
    found = _deployment(current) if current else None
    if found is None or (found.version, found.beside) != (expected.version, expected.beside):
        live_now = f"version {found.version}" if found else "nothing"
        raise ChangedError(
            f"{expected.model}: found {live_now} live, by somebody else's hand; expected version {expected.version} as"
            " it was left"
        )


def _record(folder: Path, wait_s: float = 30.0) -> dict[str, Any] | None:
    """Read the record of a living supervisor; wait for one that is still starting."""
    deadline = time.monotonic() + wait_s
    while supervisor_lives(folder):
        if record := read_json(folder / RECORD):
            return record
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL_S)
    return None


def _deployment(record: Mapping[str, Any]) -> Deployment:
    port, requested = int(record["port"]), int(record["requested_port"])
    note = f"port {requested} is taken; {port} is used instead (deploy.port)" if requested not in {0, port} else None
    return Deployment(
        model=str(record["model"]),
        version=str(record["version"]),
        address=f"{record.get('scheme', 'http')}://127.0.0.1:{port}",
        port=port,
        pid=int(record["pid"]),
        bundle=str(record["bundle"]),
        beside=tuple(record.get("beside", ())),
        note=note,
    )


def _start(folder: Path, model: str, desired: Mapping[str, Any]) -> dict[str, Any]:
    """Start a supervisor and wait for its one line: nothing if the release is live, else what is wrong."""
    import subprocess

    from pipeline.serving.process.workers import child_environment

    # While a new supervisor starts, no record may name a process that is long gone (and its id another's).
    with contextlib.suppress(FileNotFoundError):
        (folder / RECORD).replace(folder / PREVIOUS)
    write_json(folder / DESIRED, dict(desired))
    command = [sys.executable, "-P", "-m", "pipeline.delivery.platforms.local.supervisor", str(folder), model]
    with (folder / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd="/", env=child_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
        )
    with process:
        answer = process.stdout.readline() if process.stdout else b""
    outcome = json.loads(answer) if answer else {"error": f"the supervisor ended; see {folder / 'supervisor.log'}"}
    record = read_json(folder / RECORD)
    if outcome["error"] or record is None:
        raise DeploymentError(f"deploy {model} {desired['version']}: {outcome['error']}")
    return record


def _ask(folder: Path, current: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """Let the living supervisor exchange the release."""
    name = f"deploy {current['model']} {desired['version']}"
    write_json(folder / DESIRED, dict(desired))
    os.kill(int(current["pid"]), signal.SIGHUP)
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        record = read_json(folder / RECORD)
        if record and record["answered"] == desired["request"]:
            if record["error"]:
                raise DeploymentError(f"{name}: {record['error']}; version {record['version']} stays live")
            return record
        if not supervisor_lives(folder):
            raise DeploymentError(f"{name}: the supervisor ended; see {folder / 'supervisor.log'}, and deploy again")
        time.sleep(_POLL_S)
    raise DeploymentError(f"{name}: found no answer of the supervisor after {ANSWER_S:g} s; expected the release live")


def _wait_until_dead(folder: Path, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while supervisor_lives(folder):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)
    return True
