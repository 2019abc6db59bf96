"""Virtual environments of pinned requirements, made once by uv and kept by their digest."""

from __future__ import annotations

import fcntl
import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InputError, ModelrailError, TransientError

_UNREACHABLE = re.compile(
    r"error sending request|dns error|timed out|connection|status server error|502|503|504", re.IGNORECASE
)


def environment_name(requirements: bytes, python: str) -> str:
    """Return the digest of all that decides what an environment holds."""
    facts = [requirements, python.encode(), f"{sys.platform} {platform.machine()}".encode()]
    return hashlib.sha256(b"\0".join(facts)).hexdigest()[:32]


def make_environment(requirements: bytes, python: str, root: Path) -> Path:
    """Return the folder of a virtual environment that holds requirements; it is made unless it is there.

    It is made aside and then named, so an environment that is there is whole.

    Parameters
    ----------
    requirements : bytes
        A requirements file: every line pinned, with a digest.
    python : str
        Version of Python, such as ``3.11``.
    root : Path
        Folder of all environments. Whatever is in it may be removed while nothing trains.

    Raises
    ------
    InputError
        The requirements cannot be installed.
    TransientError
        The package index cannot be reached.
    """
    folder = root / environment_name(requirements, python)
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():  # another process may have made it meanwhile
            _make(requirements, python, folder)
    return folder


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time make an environment; the kernel forgets the lock when the process ends."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(requirements: bytes, python: str, folder: Path) -> None:
    for left in folder.parent.glob(f"{folder.name}.making-*"):  # of a process that was killed
        shutil.rmtree(left)
    aside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.making-", dir=folder.parent))
    try:
        listed = aside / "requirements.txt"
        listed.write_bytes(requirements)
        made = aside / "environment"
        _uv("venv", "--relocatable", "--python", python, str(made))
        _uv("pip", "install", "--python", str(made / "bin" / "python"), "--require-hashes", "-r", str(listed))
        made.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _uv(*arguments: str) -> None:
    from uv import find_uv_bin  # the extra that brings it is asked for where a trainer needs it

    try:
        program = find_uv_bin()
    except FileNotFoundError as error:
        raise InputError(
            f"train: found the package uv without its program ({error}); expected it whole: install the extra anew"
        ) from error
    done = subprocess.run([program, *arguments, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise _explain(" ".join(done.stderr.split()))


def _explain(said: str) -> ModelrailError:
    found = f"train: found that uv could not make the environment: {said[:600]}"
    if _UNREACHABLE.search(said):
        return TransientError(f"{found}; expected a package index that answers (UV_DEFAULT_INDEX)")
    return InputError(
        f"{found}; expected requirements that this machine can install (model.params.requirements, model.params.python)"
    )
