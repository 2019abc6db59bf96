"""Repositories named by a URL: bare mirrors of them in the state folder, and work trees of their commits."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from pipeline.errors import InputError, TransientError, redact
from pipeline.storage.git.command import UNREACHABLE, run_git, text_of
from pipeline.storage.git.credentials import Credentials, no_credentials, without_login
from pipeline.storage.git.repository import Repository

_URL = re.compile(r"[a-z+]+://|[^/]+@[^/]+:")

_OWN = tuple(f"--config={each}" for each in ("core.hooksPath=/dev/null", "core.autocrlf=false", "core.eol=lf"))
"""Nobody works in a mirror: no hooks of theirs run there, and files are checked out as they were committed."""


def mirror(address: str, state: Path, credentials: Credentials = no_credentials) -> Repository:
    """Clone a repository by its URL into a bare mirror, or open the mirror made before.

    A login in the URL is handed to git by its environment: it is in no argument, and not in the mirror's settings.
    """
    folder = mirror_folder(address, state)
    shown, credentials = without_login(address, credentials)
    if shown != address and (folder / "HEAD").exists():
        _forget_login(folder, shown)
    elif not (folder / "HEAD").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.with_name(f"{folder.name}.{os.getpid()}")
        clone = ["clone", "--quiet", "--bare", *_OWN, "--end-of-options", shown, str(draft)]
        with credentials() as login:
            result = run_git(clone, folder.parent, environment=login)
        if result.returncode:
            message = f"git clone of {_hide(address, shown)} failed: {text_of(result.stderr)}"
            transient = UNREACHABLE.search(message)
            raise TransientError(message) if transient else InputError(f"{message} (data.repository)")
        if not folder.exists():
            draft.rename(folder)
    return Repository(folder, bare=True, mirrored=True, credentials=credentials)


def _hide(address: str, shown: str) -> str:
    """Return an address for messages, in which one that had a login can be told from one that had none."""
    return address if shown == address else shown.replace("://", "://***@", 1)


def _forget_login(folder: Path, address: str) -> None:
    """Take the login out of the settings of a mirror that was made when it still stood there."""
    if text_of(run_git(["config", "remote.origin.url"], folder).stdout) != address:
        run_git(["config", "remote.origin.url", address], folder)


def check_out(address: str, commit: str, state: Path) -> Path:
    """Make a work tree of a commit of a repository that is named by its URL."""
    repository = mirror(address, state)
    if not repository.holds(commit):
        repository.update()
    if not repository.holds(commit):
        raise InputError(f"{redact(address)}: found no commit {commit[:12]}; expected it pushed there: 'git push'")
    folder = repository.root.with_name(f"{repository.root.name}-{commit[:12]}")
    if not folder.exists():
        repository.ask("worktree", "add", "--quiet", "--force", "--detach", str(folder), commit)
    return folder


def mirror_folder(address: str, state: Path) -> Path:
    """Return the folder of a repository's mirror, whether or not it is there."""
    return state / "repositories" / hashlib.sha256(address.encode()).hexdigest()[:16]


def is_url(address: str) -> bool:
    """Tell a URL (or ``git@host:path``) from a path."""
    return _URL.match(address) is not None


def read_remote_tip(address: str, branch: str, credentials: Credentials) -> str:
    """Ask a repository, by its URL, for the id of a branch's newest commit (of its default branch if empty)."""
    wanted = f"refs/heads/{branch}" if branch else "HEAD"
    shown, credentials = without_login(address, credentials)
    question = ["ls-remote", "--quiet", "--end-of-options", shown, wanted]
    with credentials() as login:
        result = run_git(question, Path.cwd(), environment=login)
    if result.returncode:
        message = f"git ls-remote of {_hide(address, shown)} failed: {text_of(result.stderr)}"
        raise TransientError(message) if UNREACHABLE.search(message) else InputError(f"{message} (data.repository)")
    lines = (line.partition("\t") for line in text_of(result.stdout).splitlines())
    found = {name: commit for commit, _, name in lines}
    if wanted not in found:
        raise InputError(f"{shown}: found no branch '{branch or 'HEAD'}'; expected one of its branches (data.branch)")
    return found[wanted]
