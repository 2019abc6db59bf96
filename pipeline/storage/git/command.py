"""The ``git`` command: how it is run, and what its failures mean."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.answers import remembered
from pipeline.errors import InputError

_REPOSITORY_VARIABLES = (
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    *("GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE"),
    *("GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"),
    *("GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS"),
)
# What git prints is read by programs here, so settings of how it is shown to people do not count.
_PLAIN = (
    *("-c", "log.showSignature=false", "-c", "log.follow=false", "-c", "log.decorate=false"),
    *("-c", "color.ui=false", "-c", "column.ui=never", "-c", "core.quotePath=false", "-c", "core.pager=cat"),
    *("-c", "diff.renames=false", "-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false"),
    *("-c", "diff.orderFile=/dev/null", "-c", "diff.relative=false", "-c", "diff.ignoreSubmodules=none"),
    *("-c", "status.relativePaths=true", "-c", "status.submoduleSummary=false", "-c", "status.branch=false"),
    *("-c", "status.showStash=false", "-c", "core.abbrev=auto"),
    *("-c", "i18n.logOutputEncoding=UTF-8", "-c", "i18n.commitEncoding=UTF-8"),
    # What is fetched, pushed and removed is said by each command alone.
    *("-c", "fetch.prune=false", "-c", "fetch.pruneTags=false", "-c", "fetch.recurseSubmodules=false"),
    *("-c", "fetch.output=full"),
    *("-c", "push.followTags=false", "-c", "push.recurseSubmodules=no", "-c", "submodule.recurse=false"),
    *("-c", "clone.defaultRemoteName=origin", "-c", "init.templateDir="),
)

_GIT = ("git", "--no-optional-locks", *_PLAIN)

_READING = frozenset({"rev-parse", "for-each-ref", "ls-tree", "status", "merge-base", "var"})
"""Commands that change nothing, and whose answers are small."""

UNREACHABLE = re.compile(
    r"could not resolve|unable to access(?!.*error: 40[134])|connection|timed out|early EOF|hung up|cannot lock ref"
    r"|\.lock'",
    re.IGNORECASE,
)


class GitError(InputError):
    """A git command failed; the message is git's own."""


@dataclass(frozen=True)
class Attempt:
    """What came of a git command that may fail; `transient` where trying again can help."""

    succeeded: bool
    output: str
    message: str

    @property
    def transient(self) -> bool:
        """Whether the remote did not answer, or a lock was held."""
        return UNREACHABLE.search(self.message) is not None


def run_git(
    arguments: Sequence[str], folder: Path, stdin: str = "", environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder; whether it succeeded is for the caller to see."""
    if arguments[0] in _READING and not environment:
        question = ("git", str(folder), tuple(arguments), stdin)
        return remembered(question, lambda: _run(arguments, folder, stdin, {}))
    return _run(arguments, folder, stdin, environment or {})


def _run(
    arguments: Sequence[str], folder: Path, stdin: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    data = stdin.encode("utf-8", "surrogateescape")
    variables = {**_variables(folder), **environment}
    try:
        return subprocess.run(
            [*_GIT, *arguments], cwd=folder, input=data, capture_output=True, env=variables, check=False
        )
    except FileNotFoundError as error:
        raise _missing() from error


def start_git(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start git in a folder, to be asked and answered through pipes; what goes wrong it says to nobody."""
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [*_GIT, *arguments], cwd=folder, stdin=pipe, stdout=pipe, stderr=nowhere, env=_variables(folder)
        )
    except FileNotFoundError as error:
        raise _missing() from error


def _missing() -> InputError:
    return InputError("git: found no such command; expected Git 2.30 or newer on the PATH")


def _variables(folder: Path) -> dict[str, str]:
    return {**git_environment(), **_name_bare(folder)}


def _name_bare(folder: Path) -> dict[str, str]:
    """Name a bare repository that a command runs in: some people's Git takes one only by name (safe.bareRepository)."""
    bare = folder.name != ".git" and (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return {"GIT_DIR": str(folder.absolute())} if bare else {}


def git_environment() -> dict[str, str]:
    """Build the variables that git is run with: it asks for no password, and speaks English."""
    inherited = {key: value for key, value in os.environ.items() if key not in _REPOSITORY_VARIABLES}
    return inherited | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}


def text_of(output: bytes) -> str:
    """Read what git printed, without the white space around it."""
    return output.decode("utf-8", "replace").strip()
