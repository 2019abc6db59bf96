"""The code that made a release: its commit, and what was committed between two of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.errors import InputError
from pipeline.home import CHECKOUT
from pipeline.storage.git.repository import Repository, open_repository

PACKAGE = "pipeline"
_COMMIT = re.compile(r" at ([0-9a-f]{7,64})(\+changes)?$")


@dataclass(frozen=True)
class CodeChange:
    """The code of two releases.

    Attributes
    ----------
    before, after : str
        As releases record it: ``modelrail 0.1.0 at 4be1a2c``.
    commits : tuple of str or None
        What was committed to the code in between, the newest first; None where it runs from no checkout, or the
        checkout does not have both.
    """

    before: str
    after: str
    commits: tuple[str, ...] | None = None


def compare_code(before: str, after: str) -> CodeChange:
    """Say what was committed between two versions of the code."""
    checkout = code_checkout()
    one, other = commit_of(before), commit_of(after)
    if checkout is None or one is None or other is None:
        return CodeChange(before, after)
    listed = checkout.attempt("log", "--format=%h %s", f"{one}...{other}", "--", PACKAGE)
    return CodeChange(before, after, tuple(listed.output.splitlines()) if listed.succeeded else None)


def commit_of(code: str) -> str | None:
    """Read the commit that a release's code was at; None if it ran from no checkout."""
    match = _COMMIT.search(code)
    return match[1] if match else None


def has_changes(code: str) -> bool:
    """Tell whether the code had changes that no commit has."""
    return code.endswith("+changes")


def code_checkout() -> Repository | None:
    """Find the repository that this code runs from; None if it is installed as a package."""
    try:
        return open_repository(CHECKOUT) if (CHECKOUT / ".git").exists() else None
    except InputError:
        return None
