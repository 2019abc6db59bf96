"""What this machine has and lacks for Modelrail, and how to mend it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pipeline.errors import ModelrailError
from pipeline.home import home, tracking_address
from pipeline.runs.job import open_job
from pipeline.runs.preflight import require_extras, require_ready
from pipeline.runs.request import RunRequest

_GIB = 1 << 30
_TIMEOUT_S = 5
_PORTS = {"Airflow": 8081, "MLflow": 5000, "the model": 8080}
_OLDEST_SQLITE = (3, 31, 0)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        What.
    ok : bool or None
        Whether it is as needed; None where it is missing but not everybody needs it.
    found : str
        What is there.
    needed_for : str
        What works only with it.
    mend : str
        How to get it; empty where nothing is to be done.
    """

    name: str
    ok: bool | None
    found: str
    needed_for: str
    mend: str = ""


def examine(state: Path | None = None) -> list[Finding]:
    """Look at everything that Modelrail needs or can use; takes about a second.

    Parameters
    ----------
    state : Path, optional
        Folder of the local state; by default ``pipeline.home.home()``.
    """
    folder = state or home()
    checks: Sequence[Callable[[], Finding]] = (
        _python,
        _git,
        _git_identity,
        _make,
        _uv,
        lambda: _writable(folder),
        lambda: _disk(folder),
        _memory,
        *(lambda name=name, port=port: _port(name, port) for name, port in _PORTS.items()),
        _airflow,
        lambda: _mlflow(folder),
        _cluster,
        _containers,
        _browser,
    )
    return [check() for check in checks]


def examine_run(request: RunRequest) -> Finding:
    """Ask for all that a run and its deployment will need, committed or not; nothing is computed or changed."""
    name = f"run in {request.environment}" if request.environment else "run"
    try:
        job = open_job(request)
        require_extras(job)
        require_ready(job, deploys=True)
    except ModelrailError as error:
        return Finding(name, ok=False, found="not ready", needed_for=request.spec, mend=str(error))
    return Finding(name, ok=True, found="ready", needed_for=request.spec)


def _run(*argv: str) -> str | None:
    """Read the first line that a command prints; None if it is missing, fails or takes too long."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(done.stdout.strip().splitlines()), "")


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("Python", ok, version, "everything", "" if ok else "install Python 3.11, 3.12 or 3.13")


def _git() -> Finding:
    found = _run("git", "--version")
    version = (found or "").removeprefix("git version ").split()
    numbers = tuple(int(part) for part in version[0].split(".")[:2] if part.isdigit()) if version else ()
    ok = numbers >= (2, 28)
    return Finding(
        "git", ok, version[0] if version else "missing", "commits, tags, data",
        "" if ok else "install git 2.28 or newer (apt-get install git)",
    )  # fmt: skip


def _git_identity() -> Finding:
    # as git does: the author's own variables win over the configuration
    name = os.environ.get("GIT_COMMITTER_NAME") or _run("git", "config", "user.name")
    email = os.environ.get("GIT_COMMITTER_EMAIL") or _run("git", "config", "user.email")
    if name and email:
        return Finding("git identity", True, f"{name} <{email}>", "your commits, release tags")
    mend = "git config --global user.name 'Your Name' && git config --global user.email you@example.org"
    return Finding("git identity", None, "missing; release tags are Modelrail's then", "your commits", mend)


def _make() -> Finding:
    found = _run("make", "--version")
    return Finding("make", True if found else None, found or "missing", "make run, make test",
                   "" if found else "apt-get install make; or use the modelrail command")  # fmt: skip


def _uv() -> Finding:
    program = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    found = program and _run(program, "--version")
    return Finding("uv", True if found else None, found or "missing", "make setup, quickly",
                   "" if found else "nothing to do: make setup installs it with pip")  # fmt: skip


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _writable(folder: Path) -> Finding:
    there = _existing(folder)
    ok = there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    found = f"{folder}, {'writable' if ok else f'not writable ({there})'}"
    mend = "" if ok else "make it writable, or set MODELRAIL_HOME to a folder of yours"
    return Finding("state folder", ok, found, "everything", mend)


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free
    ok = free > 2 * _GIB
    return Finding("disk", ok, f"{free / _GIB:.0f} GiB free", "artifacts, Airflow's logs",
                   "" if ok else "free 2 GiB, or set MODELRAIL_HOME to another disk")  # fmt: skip


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    ok = memory.available > 2 * _GIB
    found = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB available"
    return Finding("memory", True if ok else None, found, "Airflow and MLflow together (about 2 GiB)",
                   "" if ok else "close other programs, or use `modelrail run`, which needs no Airflow")  # fmt: skip


def _port(name: str, port: int) -> Finding:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    found = "in use; the next free one is taken" if taken else "free"
    return Finding(f"port {port}", None if taken else True, found, name)


def _airflow() -> Finding:
    try:
        version = metadata.version("apache-airflow-core")
    except metadata.PackageNotFoundError:
        return Finding("Airflow", None, "missing", "make run, schedules, backfills", "make setup")
    ok = version.startswith("3.3.")
    return Finding("Airflow", ok, version, "make run, schedules, backfills", "" if ok else "make setup (expected 3.3)")


def _mlflow(folder: Path) -> Finding:
    needed_for = "runs, metrics, the registry"
    if importlib.util.find_spec("mlflow") is None:
        return Finding("MLflow", False, "missing", needed_for, "make setup")
    address = tracking_address(folder)
    if not address.startswith("sqlite:///"):
        return Finding("MLflow", True, f"{metadata.version('mlflow')}, {address}", needed_for)
    return _mlflow_on_sqlite(Path(address.removeprefix("sqlite:///")), needed_for)


def _mlflow_on_sqlite(file: Path, needed_for: str) -> Finding:
    versions = f"{metadata.version('mlflow')}, SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        return Finding("MLflow", False, versions, needed_for, "use a Python with SQLite 3.31 or newer")
    if not file.exists():
        return Finding("MLflow", True, f"{versions}, {file} (made at the first run)", needed_for)
    try:
        # opened for writing, so that a lock or a read-only file shows; nothing is changed
        connection = sqlite3.connect(f"file:{file}?mode=rw", uri=True, timeout=2)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("SELECT count(*) FROM sqlite_master")
            connection.rollback()
        finally:
            connection.close()
    except sqlite3.Error as error:
        mend = f"end what holds it (fuser {file}), or move the file away to begin a new one"
        return Finding("MLflow", False, f"{versions}, {file}: {error}", needed_for, mend)
    return Finding("MLflow", True, f"{versions}, {file}", needed_for)


def _cluster() -> Finding:
    needed_for = "the tests on Kubernetes"
    if not shutil.which("kubectl"):
        return Finding("kubectl", None, "missing", needed_for, "install kubectl; not needed to run locally")
    server = _run("kubectl", "version", "--request-timeout=3s", "-o", "json")
    if server is None:
        return Finding("kubectl", None, "installed, no cluster answers", needed_for, "set KUBECONFIG to a cluster's")
    context = _run("kubectl", "config", "current-context") or "in-cluster"
    return Finding("kubectl", True, f"cluster {context}", needed_for)


def _containers() -> Finding:
    found = next((name for name in ("docker", "podman", "buildah") if shutil.which(name)), None)
    return Finding("container tool", True if found else None, found or "missing", "building images",
                   "" if found else "install podman; not needed to run locally")  # fmt: skip


def _browser() -> Finding:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    return Finding("chromium", True if found else None, found or "missing", "the tests of the pages",
                   "" if found else "apt-get install chromium; only needed to test Modelrail itself")  # fmt: skip
