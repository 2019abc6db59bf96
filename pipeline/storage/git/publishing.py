"""Commits of a folder, made without a work tree, and pushed so that nobody's work is overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.errors import DeploymentError, TransientError
from pipeline.retries import attempts
from pipeline.storage.git.repository import Repository

_FILE, _FOLDER = "100644", "040000"


@dataclass(frozen=True)
class Published:
    """A folder as a branch has it now.

    Attributes
    ----------
    tree, before : str or None
        Git's ids of the folder's content, now and before; None where there is no such folder.
    changed : bool
        Whether a commit was needed.
    """

    commit: str
    tree: str | None
    before: str | None
    changed: bool


def publish(
    repository: Repository, branch: str, folder: str, tree: str | None, message: str, review: str | None = None
) -> Published:
    """Replace the content of a branch's folder in one commit; make no commit if the content is the same.

    Parameters
    ----------
    repository : Repository
        A mirror of the one that is pushed to.
    tree : str or None
        As of `write_folder`; None removes the folder.
    review : str, optional
        A branch that gets the commit instead; one that it had before is replaced.

    Raises
    ------
    DeploymentError
        If the push is refused.
    TransientError
        If the remote does not answer, or others are always faster.
    """
    for _ in attempts(pause_s=0.05):
        repository.update()
        tip = _resolve(repository, f"refs/heads/{branch}")
        before = read_tree(repository, tip, folder)
        if tip and before == tree:
            return Published(tip, tree, before, changed=False)
        commit = _commit(repository, tip, folder, tree, message)
        target = f"+{commit}:refs/heads/{review}" if review else f"{commit}:refs/heads/{branch}"
        done = repository.push(target)
        if done.succeeded:
            return Published(commit, tree, before, changed=True)
        if not ("fetch first" in done.message or "non-fast-forward" in done.message or done.transient):
            raise DeploymentError(
                f"git push to {review or branch} failed: {done.message}; expected the right to push there"
                " (deploy.gitops)"
            )
    raise TransientError(f"git push to {review or branch} failed: {done.message}; run again")


def require_push(repository: Repository, branch: str) -> None:
    """Make sure that a branch may be pushed to; nothing is.

    Raises
    ------
    DeploymentError
        If the remote refuses.
    TransientError
        If it does not answer.
    """
    tip = _resolve(repository, f"refs/heads/{branch}")
    commit = tip or _commit(repository, None, "asked", None, "Nothing\n")
    done = repository.push(f"+{commit}:refs/heads/{branch}", dry_run=True)
    if done.transient:
        raise TransientError(f"git push to {branch} failed: {done.message}; run again")
    if not done.succeeded:
        raise DeploymentError(
            f"git push to {branch} failed: {done.message}; expected the right to push there (deploy.gitops)"
        )


def write_folder(repository: Repository, files: Mapping[str, str]) -> str:
    """Write a folder of files into the object database; return its id."""
    hashed = {name: repository.ask("hash-object", "-w", "--stdin", stdin=text).strip() for name, text in files.items()}
    return _make_tree(repository, {name: f"{_FILE} blob {blob}" for name, blob in hashed.items()})


def read_tree(repository: Repository, commit: str | None, folder: str) -> str | None:
    """Read the id of a folder's content at a commit; None if there is none."""
    return _resolve(repository, f"{commit}:{folder}") if commit else None


def read_folder(repository: Repository, tree: str) -> dict[str, str]:
    """Read the files of a folder, by its id."""
    names = repository.ask("ls-tree", "-z", "--name-only", tree).split("\0")
    return {name: repository.ask("cat-file", "blob", f"{tree}:{name}") for name in names if name}


def _commit(repository: Repository, parent: str | None, folder: str, tree: str | None, message: str) -> str:
    root = _put(repository, f"{parent}^{{tree}}" if parent else None, PurePosixPath(folder).parts, tree)
    signs = repository.signs("commit")
    options = [*(["-S"] if signs else []), *(["-p", parent] if parent else [])]
    made = repository.attempt("commit-tree", *options, "-F", "-", root, stdin=message)
    if not made.succeeded:
        raise DeploymentError(f"git commit-tree in {repository.root} failed: {made.message}")
    return made.output


def _put(repository: Repository, base: str | None, path: tuple[str, ...], tree: str | None) -> str:
    """Write a folder in which a path has another content and all else stays; return its id."""
    name, *rest = path
    listing = repository.ask("ls-tree", "-z", base).split("\0") if base else []
    pairs = (entry.split("\t", 1) for entry in listing if entry)
    entries = {there: facts for facts, there in pairs}
    below = _put(repository, _folder_in(entries, name), tuple(rest), tree) if rest else tree
    entries.pop(name, None)
    if below is not None:
        entries[name] = f"{_FOLDER} tree {below}"
    return _make_tree(repository, entries)


def _folder_in(entries: Mapping[str, str], name: str) -> str | None:
    _, kind, tree = entries.get(name, "- - -").split()
    return tree if kind == "tree" else None


def _make_tree(repository: Repository, entries: Mapping[str, str]) -> str:
    lines = "".join(f"{facts}\t{name}\0" for name, facts in entries.items())
    return repository.ask("mktree", "-z", stdin=lines).strip()


def _resolve(repository: Repository, name: str) -> str | None:
    found = repository.attempt("rev-parse", "--verify", "--quiet", "--end-of-options", name)
    return found.output if found.succeeded else None
