"""The git command with nothing of the user's own set-up in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pipeline.errors import InputError, ModelrailError

# hooks, signing, line ends and file monitors of the user's configuration would change or stop what is made here
_PLAIN = {
    "core.hooksPath": os.devnull,
    "commit.gpgSign": "false",
    "core.autocrlf": "false",
    "core.fsmonitor": "false",
    "gc.auto": "0",
    "safe.directory": "*",
}


def run_git(folder: Path, *arguments: str, given: bytes | None = None) -> bytes:
    """Run git in a folder, apart from the user's configuration and ``GIT_*`` variables.

    Parameters
    ----------
    folder : Path
        Where git runs.
    *arguments : str
        The command and its arguments.
    given : bytes, optional
        What git reads from its standard input.

    Returns
    -------
    bytes
        What git printed.

    Raises
    ------
    InputError
        When there is no git on this machine.
    ModelrailError
        When git fails, with what it said.
    """
    settings = [part for key, value in _PLAIN.items() for part in ("-c", f"{key}={value}")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", *settings, *arguments], cwd=folder, env=environment, input=given, capture_output=True, check=False
        )
    except FileNotFoundError as error:
        raise InputError("git: found no git command; expected git installed (apt-get install git)") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise ModelrailError(f"git {arguments[0]} in {folder}: found exit code {done.returncode}: {said}")
    return done.stdout
