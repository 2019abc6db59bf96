"""Data commits as they are shown: date and subject, looked up once, without a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.errors import ModelrailError
from pipeline.runs.job import BUILT_IN, WORK_TREE
from pipeline.storage.git.mirrors import is_url, mirror_folder
from pipeline.storage.git.repository import Commit, Repository


@dataclass(frozen=True)
class DataCommit:
    """A data commit as it is shown.

    Attributes
    ----------
    short : str
        Ten digits, or ``work tree``, ``built-in``.
    commit : Commit or None
        None where the repository is not on this machine.
    """

    short: str
    commit: Commit | None = None


Lookup = Callable[[str], DataCommit]


def lookup_for(address: str | None, own: Repository, state: Path) -> Lookup:
    """Return the function that looks up commits of a model's data repository.

    Parameters
    ----------
    address : str or None
        ``data.repository`` of the spec.
    own : Repository
        The one that holds the spec.
    """
    root = own.root
    if address is not None:
        root = mirror_folder(address, state) if is_url(address) else own.root / Path(address).expanduser()
    return lambda commit: _look_up(root, commit)


@lru_cache(maxsize=4096)
def _known(root: Path, commit: str) -> Commit:
    return Repository(root).commit(commit)


def _look_up(root: Path, commit: str) -> DataCommit:
    if commit in (WORK_TREE, BUILT_IN):
        return DataCommit(commit)
    try:
        return DataCommit(commit[:10], _known(root, commit))
    except (ModelrailError, OSError):
        return DataCommit(commit[:10])
