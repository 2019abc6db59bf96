"""Where data come from: which repositories the specs watch, and the newest commit of each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ModelrailError, redact
from pipeline.home import home
from pipeline.spec.files import list_yaml
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.spec import Spec
from pipeline.storage.git.credentials import Credentials, no_credentials
from pipeline.storage.git.mirrors import is_url, mirror, read_remote_tip
from pipeline.storage.git.repository import Repository, open_repository

_KEY = re.compile(r"\bon_data_commit\b")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0


@dataclass(frozen=True, order=True)
class Source:
    """One branch of one data repository.

    Attributes
    ----------
    address : str
        An absolute path, or a URL.
    branch : str
        Empty for what the repository has checked out.
    connection : str
        Airflow connection with the credentials; empty for none.
    """

    address: str
    branch: str = ""
    connection: str = ""

    def __str__(self) -> str:
        return redact(self.address) + (f" ({self.branch})" if self.branch else "")

    @property
    def remote(self) -> bool:
        """Whether it is reached through a network, or at least through Git's transport."""
        return is_url(self.address)


@dataclass(frozen=True)
class Watched:
    """A model that new data commits may start."""

    path: Path
    spec: Spec
    source: Source

    @property
    def model(self) -> str:
        """Name of the model and of its DAG."""
        return self.spec.model.name

    @property
    def place(self) -> str:
        """The spec's path from the top of its repository, as a command run there takes it."""
        return self.path.resolve().relative_to(find_root(self.path)).as_posix()


def find_watched(folder: Path) -> list[Watched]:
    """Find the specs of a folder that new data commits may start; a broken one shows its problems elsewhere."""
    return sorted(_watched(filter(Path.is_file, list_yaml(folder))), key=lambda each: each.model)


def _watched(paths: Iterable[Path]) -> Iterator[Watched]:
    for path in paths:
        try:
            # most specs watch nothing: looking for the word is a hundred times faster than reading the spec
            if not _KEY.search(path.read_text("utf-8")):
                continue
            spec = load_spec(path).spec
        except (ModelrailError, OSError, ValueError):
            continue
        if spec.schedule.on_data_commit != "off":
            yield Watched(path, spec, source_of(spec, path))


def source_of(spec: Spec, path: Path) -> Source:
    """Say where a spec's data come from."""
    address = spec.data.repository
    if address is None or not is_url(address):
        address = str((find_root(path) / Path(address or "").expanduser()).resolve())
    return Source(address, spec.data.branch or "", spec.data.connection or "")


def find_root(path: Path) -> Path:
    """Find the top of the repository that holds a spec, without asking Git."""
    folder = path.resolve().parent
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), folder)


def open_source(source: Source, beside: Path, credentials: Credentials = no_credentials) -> Repository:
    """Open the repository; a remote one is mirrored, and the mirror brought up to date."""
    if not source.remote:
        return open_repository(Path(source.address))
    repository = mirror(source.address, home(beside), credentials)
    repository.update()
    return repository


def read_tip(source: Source, credentials: Credentials = no_credentials) -> str:
    """Return the newest commit's id, without fetching anything.

    Raises
    ------
    TransientError
        If the repository cannot be reached now.
    InputError
        If there is no such repository or branch.
    """
    if source.remote:
        return read_remote_tip(source.address, source.branch, credentials)
    return open_repository(Path(source.address)).resolve(source.branch or "HEAD")


def sign_of(source: Source) -> tuple[tuple[str, int, int], ...]:
    """Return a fingerprint that changes when a local branch moves; cheap enough to be asked for once a second."""
    folder = _git_folder(Path(source.address))
    names = ["packed-refs", "reftable/tables.list", *_branch_files(folder, source.branch)]
    own = (folder / name for name in ("HEAD", "reftable/tables.list"))
    return tuple(map(_stamp, (*own, *(_shared_folder(folder) / name for name in names))))


def _git_folder(place: Path) -> Path:
    inside = place / ".git"
    if inside.is_file():  # a further work tree
        inside = (place / inside.read_text().partition("gitdir:")[2].strip()).resolve()
    return inside if inside.exists() else place


def _shared_folder(folder: Path) -> Path:
    """Find the folder that has the branches: a further work tree has only its ``HEAD`` to itself."""
    named = folder / "commondir"
    return (folder / named.read_text().strip()).resolve() if named.is_file() else folder


def _branch_files(folder: Path, branch: str) -> list[str]:
    if branch:
        return [f"refs/heads/{branch}"]
    head = (folder / "HEAD").read_text() if (folder / "HEAD").is_file() else ""
    return [head.removeprefix("ref:").strip()] if head.startswith("ref:") else []


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        facts = file.stat()
    except OSError:
        return (file.name, 0, 0)
    return (file.name, facts.st_mtime_ns, facts.st_ino)


def wait_s(failures: int) -> float:
    """Say how long to wait before a repository is asked again: a second, then twice as long after each failure."""
    return min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(failures, 10))
