"""What a run is about: one spec, as it stands in Git, and the partitions of one data commit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path

from pipeline.errors import InputError, redact
from pipeline.home import CHECKOUT, home, prepare_home
from pipeline.messages import count
from pipeline.runs.built_in_data import line_example
from pipeline.runs.committed_specs import load_spec_at
from pipeline.runs.packs import pack
from pipeline.runs.request import RunRequest
from pipeline.spec.companion_files import files_of
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.schema.spec import Spec
from pipeline.storage.git.credentials import CredentialsProvider, no_credentials
from pipeline.storage.git.mirrors import is_url, mirror
from pipeline.storage.git.repository import File, FileGroup, Listing, Repository, open_repository, readable
from pipeline.storage.large_files import LargeFile, Layout, find_partitions
from pipeline.storage.large_files.finding import is_pointer
from pipeline.storage.periods import up_to

WORK_TREE = "work tree"
BUILT_IN = "built-in"

_FULL_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True)
class SpecSource:
    """A spec that is read, and where it comes from: its path in the repository, the commit, what is not committed."""

    spec: Spec
    path: str
    commit: str
    repository: Repository
    uncommitted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A request, with everything in it resolved.

    Attributes
    ----------
    spec_path : str
        Path of the spec in its repository.
    spec_commit : str
        Newest commit of the spec's repository; empty if nothing was ever committed.
    uncommitted : tuple of str
        Files that matter here and differ from the commits; a run with any is not released.
    data_commit : str
        Full commit id, ``work tree`` or ``built-in``.
    partitions : dict
        Key → file, sorted by key.
    left_out : int
        Partitions of the commit that the as-of date leaves out.
    """

    request: RunRequest
    spec: Spec
    spec_path: str
    spec_commit: str
    repository: Repository
    uncommitted: tuple[str, ...]
    data_repository: Repository | None
    data_address: str
    data_commit: str
    partitions: Mapping[str, File]
    left_out: int
    state: Path = field(compare=False)

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.spec.model.name

    @cached_property
    def packs(self) -> Mapping[str, tuple[str, ...]]:
        """What is cleaned and transformed together: the first partition → all of them, often itself alone."""
        return pack(self.partitions, len(self.partitions) + self.left_out)

    @property
    def environment(self) -> str:
        """Name of the environment; without an overlay it is named by its platform."""
        return self.request.environment or self.spec.environment.platform

    @property
    def kept_back(self) -> str | None:
        """Why no model of this job may be released, however good; None if one may."""
        if self.uncommitted or self.data_commit == WORK_TREE or not self.spec_commit:
            files = ", ".join(self.uncommitted[:5]) or self.spec_path
            return f"commit {files} first ('git add' and 'git commit'), then run again: all work is reused"
        if self.request.replay:
            return f"a replay of {self.request.as_of} is evaluated only"
        if self.left_out:
            return f"a look back to {self.request.as_of} leaves out {self.left_out} newer partitions"
        return None

    @cached_property
    def code(self) -> str:
        """Version of Modelrail, with its commit where it runs from a checkout."""
        if not (CHECKOUT / ".git").exists():
            return f"modelrail {version('modelrail')}"
        here = open_repository(CHECKOUT).work_tree(["pipeline"])
        commit = here.commit[:12] or "uncommitted"
        return f"modelrail {version('modelrail')} at {commit}{'+changes' if here.changes else ''}"

    def read(self, partition: str) -> bytes:
        """Read the bytes of a partition."""
        if self.data_repository is None:
            return line_example()
        file, repository = self.partitions[partition], self.data_repository
        if isinstance(file, LargeFile):
            return self._fetch(file, repository)
        members = file.members if isinstance(file, FileGroup) else ()
        large: dict[File, bytes] = {
            each: self._fetch(each, repository) for each in members if isinstance(each, LargeFile)
        }
        return repository.read(file, large)

    def _fetch(self, file: LargeFile, repository: Repository) -> bytes:
        from pipeline.storage.large_files.fetching import read_large  # knows of DVC and LFS: few data need it
        from pipeline.storage.large_files.remotes import Remotes

        return read_large(file, repository, self.state, Remotes(self.spec.data.remotes))


def open_job(request: RunRequest, provider: CredentialsProvider | None = None) -> Job:
    """Resolve a request: read the spec, find the commits, list the partitions.

    Parameters
    ----------
    provider : callable, optional
        Opens the login that ``data.connection`` names. Only what fetches the data has it, so that no push of a tag to
        another repository can show it.

    Raises
    ------
    SpecError
        If the spec or its environment has problems.
    InputError
        If there is no repository, no such commit or no partition.
    """
    if request.spec_commit:
        return _open_committed(request, request.spec_commit, provider)
    path = Path(request.spec)
    loaded = load_spec(path, request.environment)
    repository = open_repository(path.resolve().parent)
    companions = [loaded.path.parent / each for each in files_of(loaded.spec)]
    sources = [each for each in (loaded.path, loaded.overlay, *companions) if each is not None]
    here = repository.work_tree([*map(repository.path_of, sources), *_code_of(repository)])
    source = SpecSource(loaded.spec, repository.path_of(path), here.commit, repository, tuple(here.changes))
    return resolve(request, source, provider)


def _open_committed(request: RunRequest, revision: str, provider: CredentialsProvider | None) -> Job:
    """Resolve a request whose spec is that of a commit, and so are the data where they are in the same repository."""
    path = Path(request.spec).absolute()
    repository = repository_around(path)
    commit, name = repository.resolve(revision), repository.path_of(path)
    spec = load_spec_at(repository, commit, name, request.environment)
    data = request.data_commit or (commit if _is_own(spec, repository) else None)
    code = _code_of(repository)
    source = SpecSource(spec, name, commit, repository, tuple(repository.changes(code)) if code else ())
    return resolve(replace(request, data_commit=data, spec_commit=commit), source, provider)


def _code_of(repository: Repository) -> list[str]:
    """Name the code where it lies in the spec's repository: it decides the results too."""
    return ["pipeline"] if repository.root == CHECKOUT else []


def _is_own(spec: Spec, repository: Repository) -> bool:
    """Tell whether the data are in the spec's repository, at the same commit."""
    if spec.data.files is None or spec.data.branch:
        return False
    address = spec.data.repository
    return address is None or (not is_url(address) and (repository.root / address).resolve() == repository.root)


def repository_around(path: Path) -> Repository:
    """Open the repository that a file is in, or was in: it need not be in the work tree."""
    return open_repository(next(each for each in path.resolve().parents if each.is_dir()))


def resolve(request: RunRequest, source: SpecSource, provider: CredentialsProvider | None = None) -> Job:
    """Resolve a request whose spec is read: find the data commit, list the partitions."""
    spec, repository = source.spec, source.repository
    state = home(repository.root)
    with suppress(OSError):  # a plan needs no folder to write in; what writes says that it cannot
        prepare_home(state)
    uncommitted = [*source.uncommitted]
    if spec.data.files is None:
        if request.data_commit not in (None, "", BUILT_IN):
            raise InputError(f"data commit: found '{request.data_commit}'; expected none: the built-in data have none")
        data, address, commit, files = None, BUILT_IN, BUILT_IN, _line_partition()
    else:
        data, address = _data_repository(spec, repository, state, provider)
        layout = Layout(spec.data.files, spec.data.images)
        commit, found, changed = _data_files(request, spec, data, layout, own=data.root == repository.root)
        listed = partial(_list_folder, repository=data, state=state, named=spec.data.remotes)
        files = find_partitions(data, "" if commit == WORK_TREE else commit, found, layout, listed)
        uncommitted += changed
    partitions = up_to(files, request.as_of)
    if not partitions:
        raise InputError(_explain_nothing(spec, address, commit, files, request.as_of))
    return Job(
        request=request,
        spec=spec,
        spec_path=source.path,
        spec_commit=source.commit,
        repository=repository,
        uncommitted=tuple(sorted(set(map(readable, uncommitted)))),
        data_repository=data,
        data_address=address,
        data_commit=commit,
        partitions=partitions,
        left_out=len(files) - len(partitions),
        state=state,
    )


def _list_folder(
    folder: LargeFile, repository: Repository, state: Path, named: Sequence[str] | None
) -> Iterable[LargeFile]:
    from pipeline.storage.large_files.fetching import list_folder  # as in `Job.read`
    from pipeline.storage.large_files.remotes import Remotes

    return list_folder(folder, repository, state, Remotes(named))


def _data_repository(
    spec: Spec, own: Repository, state: Path, provider: CredentialsProvider | None
) -> tuple[Repository, str]:
    address = spec.data.repository
    if address is None:
        return own, "."
    if is_url(address):
        connection = spec.data.connection
        credentials = partial(provider, connection, address) if provider and connection else no_credentials
        return mirror(address, state, credentials), redact(address)
    folder = Path(address).expanduser()
    folder = own.root / folder  # an absolute one stays what it is
    if not folder.is_dir():
        raise InputError(f"{folder}: found no such folder; expected a Git repository (data.repository)")
    return open_repository(folder), address


def _data_files(
    request: RunRequest, spec: Spec, data: Repository, layout: Layout, *, own: bool
) -> tuple[str, list[File], list[str]]:
    """Return the commit, its files and the uncommitted ones; the work tree counts where nothing else is named."""
    named = request.data_commit or spec.data.branch
    if own and not named:
        listing = data.list_both(*layout.places)
        if changed := _changed(listing, layout):
            return WORK_TREE, listing.present, changed
        commit, files = listing.commit or data.resolve(), listing.committed
    else:
        if data.mirrored and not (named and _FULL_ID.fullmatch(named) and data.holds(named)):
            data.update()
        commit = data.resolve(named or "HEAD")
        files = data.files(commit, *layout.places)
    return commit, files, []


def _changed(listing: Listing, layout: Layout) -> list[str]:
    """List the files, or the pointers that stand for some, whose content differs from the newest commit's."""
    if listing.present is listing.committed:
        return []
    differing = {file.path for file in {*listing.present} ^ {*listing.committed}}
    return sorted(path for path in differing if layout.key(path) is not None or is_pointer(path, layout.files))


def _line_partition() -> dict[str, File]:
    content = line_example()
    return {"line": File("line.csv", hashlib.sha256(content).hexdigest(), len(content))}


def _explain_nothing(spec: Spec, address: str, commit: str, files: Mapping[str, File], as_of: str | None) -> str:
    if files:
        return (
            f"{address}: found {count(len(files), 'partition')}, the first of them {next(iter(files))}, but none up to "
            f"{as_of}; expected a later as-of date"
        )
    found = f"{address} at {commit[:12]}: found no file that matches '{spec.data.files}'"
    return f"{found}; expected at least one (data.files)"
