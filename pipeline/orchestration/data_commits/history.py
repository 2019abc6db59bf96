"""What happened between two commits: one reading of Git, however many commits there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.storage.git.repository import Repository

_MARK = "\x01"
_FORM = f"--format={_MARK}%H%x00%s"


@dataclass(frozen=True)
class FileChange:
    """One file that a commit changed: Git's ids of its content before and after, None where there is no file."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class DataCommit:
    """One commit of a data repository, and what differs from its first parent."""

    id: str
    subject: str
    changes: tuple[FileChange, ...]


@dataclass(frozen=True)
class Stretch:
    """What happened since a commit that was looked at before.

    Attributes
    ----------
    base : str or None
        The commit that the first of the new ones builds on; None if it is the very first.
    commits : tuple of DataCommit
        New ones, by first parents, oldest first.
    undone : tuple of DataCommit
        Those that a force-push has taken out of the branch.
    forced : bool
        Whether the commit looked at before is no longer part of the branch.
    """

    base: str | None
    commits: tuple[DataCommit, ...]
    undone: tuple[DataCommit, ...] = ()
    forced: bool = False


def read_stretch(repository: Repository, since: str, tip: str) -> Stretch:
    """Read what happened from one commit, which the repository holds, to another."""
    if repository.is_ancestor(since, tip):
        commits = read_commits(repository, since, tip)
        return Stretch(_parent(repository, commits, since), commits)
    base = repository.merge_base(since, tip)
    commits, undone = read_commits(repository, base, tip), read_commits(repository, base, since)
    return Stretch(_parent(repository, commits, base), commits, undone, forced=True)


def _parent(repository: Repository, commits: tuple[DataCommit, ...], otherwise: str | None) -> str | None:
    """Find the first parent of the first commit, to which its changes apply; a merge may have brought in another."""
    return read_parent(repository, commits[0].id) if commits else otherwise


def read_parent(repository: Repository, commit: str) -> str | None:
    """Read a commit's first parent, None for a first commit."""
    found = repository.ask("rev-list", "--max-count=1", "--parents", commit).split()
    return found[1] if len(found) > 1 else None


def read_commits(repository: Repository, since: str | None, tip: str) -> tuple[DataCommit, ...]:
    """Read the commits after one up to another, by first parents, oldest first."""
    options = ("--first-parent", "--diff-merges=first-parent", "--raw", "--no-abbrev", "--no-renames", "--reverse")
    stretch = (f"{since}..{tip}",) if since else (tip,)
    return tuple(_parse(repository.ask("-c", "log.showRoot=true", "log", *options, "-z", _FORM, *stretch, "--")))


def list_commits(repository: Repository, tip: str) -> list[str]:
    """List the ids of a branch's commits, by first parents, newest first."""
    return repository.ask("rev-list", "--first-parent", tip, "--").split()


def _parse(output: str) -> Iterator[DataCommit]:
    tokens = iter(output.split("\0"))
    commit, subject, changes = "", "", list[FileChange]()
    for token in tokens:
        if token.startswith(_MARK):
            if commit:
                yield DataCommit(commit, subject, tuple(changes))
            commit, subject, changes = token[1:], next(tokens), []
        elif token.lstrip("\n").startswith(":"):
            _, _, before, after, _ = token.lstrip("\n").split(" ")
            changes.append(FileChange(next(tokens), _id(before), _id(after)))
    if commit:
        yield DataCommit(commit, subject, tuple(changes))


def _id(text: str) -> str | None:
    return text if text.strip("0") else None
