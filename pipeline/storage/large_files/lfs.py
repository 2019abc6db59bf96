"""Where Git LFS keeps contents: in the clone, and at the remote: a folder, a server or an object store.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/server-discovery.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import InputError, redact
from pipeline.storage.artifacts import download
from pipeline.storage.git.repository import Repository
from pipeline.storage.large_files.lfs_ssh import ask_grant, read_ssh_address
from pipeline.storage.large_files.locations import Location
from pipeline.storage.large_files.pointers import LargeFile

_REMOTE_URL = re.compile(r"remote\.(.+)\.url")
_STORE_URL = re.compile(r"(?!(?:https?|file|git|ssh|git\+ssh|ssh\+git)://)[a-z0-9+.-]+://")
_LAYOUTS = ("{0}/{1}/{2}", "{2}")
"""Where an object store has a content: as the folder ``lfs/objects`` of a clone, or by its digest alone."""


def lfs_locations(file: LargeFile, repository: Repository) -> Iterator[Location]:
    """Yield the places that may have a content, the nearest first."""
    settings = _settings(file, repository)
    own = repository.common_folder() / (settings.get("lfs.storage") or "lfs") / "objects"
    yield Location(f"in {own}", path=_object_in(own, file))
    remote = _remote_of(settings)
    address = settings.get("lfs.url") or settings.get(f"remote.{remote}.lfsurl") or ""
    origin = repository.ask("ls-remote", "--get-url", remote).strip() if remote else ""
    if not (address or origin):
        return
    if (folder := _folder_of(address or origin, repository)) is not None:
        yield Location(f"at the remote {redact(address or origin)}", path=_object_in(folder, file))
        return
    if _STORE_URL.match(address):
        yield from _stored(file, address.rstrip("/"))
        return
    says = f"at the LFS server {redact(address or _derive(origin))}"
    yield Location(says, download=partial(_download, file, address, origin, repository))


def _stored(file: LargeFile, address: str) -> Iterator[Location]:
    for layout in _LAYOUTS:
        place = f"{address}/{layout.format(file.digest[:2], file.digest[2:4], file.digest)}"
        yield Location(f"at the LFS store {place}", download=partial(download, place, options={}))


def _download(
    file: LargeFile,
    address: str,
    origin: str,
    repository: Repository,
    target: Path,
) -> bool:
    """Ask the server: the one that settings name, the one that the repository's host grants, the one that follows."""
    from pipeline.storage.large_files.lfs_server import LfsServer

    host = None if address else read_ssh_address(origin)
    grant = ask_grant(host, repository) if host else None
    if grant:
        return LfsServer(grant.href, repository, grant.headers).download(file, target)
    return LfsServer(address or _derive(origin), repository).download(file, target)


def _settings(file: LargeFile, repository: Repository) -> dict[str, str]:
    """Read Git's own settings and, below them, ``.lfsconfig`` as of the pointer's commit."""
    committed = repository.read_path(file.at, ".lfsconfig") or b""
    texts = [
        repository.ask("config", "--file", "-", "--list", "--null", stdin=committed.decode("utf-8", "replace")),
        repository.ask("config", "--list", "--null"),
    ]
    pairs = (entry.partition("\n") for text in texts for entry in text.split("\0") if entry)
    return {name: value for name, _, value in pairs}


def _remote_of(settings: Mapping[str, str]) -> str:
    """Name the remote that LFS asks: the one chosen for it, ``origin``, or the only one."""
    if chosen := settings.get("remote.lfsdefault"):
        return chosen
    names = [found[1] for name in settings if (found := _REMOTE_URL.fullmatch(name))]
    return "origin" if "origin" in names or len(names) != 1 else names[0]


def _folder_of(address: str, repository: Repository) -> Path | None:
    """Find the folder of contents of a repository on this machine; None for one that is elsewhere."""
    if address.startswith("file://"):
        place = Path(unquote(urlsplit(address).path))
    elif "://" in address or read_ssh_address(address):
        return None
    else:
        place = repository.root / Path(address).expanduser()
    git = place / ".git" if (place / ".git").is_dir() else place
    return git / "lfs" / "objects"


def _derive(origin: str) -> str:
    """Derive the server's address from the repository's, as Git LFS does."""
    if host := read_ssh_address(origin):
        origin = f"https://{host.host.rpartition('@')[2]}/{host.path.lstrip('/')}"
    if not origin.startswith(("http://", "https://")):
        raise InputError(
            f"Git LFS: found the remote {redact(origin)}, from which no server follows; expected its address: "
            "'git config -f .lfsconfig lfs.url URL', and commit"
        )
    origin = origin.rstrip("/")
    return f"{origin}{'' if origin.endswith('.git') else '.git'}/info/lfs"


def _object_in(folder: Path, file: LargeFile) -> Path:
    return folder / file.digest[:2] / file.digest[2:4] / file.digest
