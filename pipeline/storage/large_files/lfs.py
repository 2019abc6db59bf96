"""Where Git LFS keeps contents: in the clone, and at the remote: a folder, a server or an object store.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/server-discovery.md
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import InputError, redact
from pipeline.storage.git.repository import Repository
from pipeline.storage.large_files.lfs_ssh import ask_grant, read_ssh_address
from pipeline.storage.large_files.locations import Location
from pipeline.storage.large_files.opening import Opener
from pipeline.storage.large_files.pointers import LargeFile
from pipeline.storage.large_files.remotes import Remotes

_COMMITTED = re.compile(r"lfs\.url|remote\..+\.lfsurl")
"""What ``.lfsconfig`` may say of where contents are; Git LFS itself takes no other remotes and folders from it."""
_REMOTE_URL = re.compile(r"remote\.(.+)\.url")
_STORE_URL = re.compile(r"(?!(?:https?|file|git|ssh|git\+ssh|ssh\+git)://)[a-z0-9+.-]+://")
_LAYOUTS = ("{0}/{1}/{2}", "{2}")
"""Where an object store has a content: as the folder ``lfs/objects`` of a clone, or by its digest alone."""


def lfs_locations(file: LargeFile, repository: Repository, remotes: Remotes) -> Iterator[Location]:
    """Yield the places that may have a content, the nearest first.

    Raises
    ------
    InputError
        If the next place is one that contents may not come from.
    """
    committed, own = _committed_settings(file, repository), _read_settings(repository.ask("config", "--list", "--null"))
    folder = repository.common_folder() / (own.get("lfs.storage") or "lfs") / "objects"
    yield Location(f"in {folder}", path=_object_in(folder, file))
    settings = committed | own
    remote = _remote_of(own)
    key = next((each for each in ("lfs.url", f"remote.{remote}.lfsurl") if settings.get(each)), "")
    address = settings.get(key, "")
    origin = repository.ask("ls-remote", "--get-url", "--end-of-options", remote).strip() if remote else ""
    if address or origin:
        opener = Opener(remotes, ".lfsconfig" if key in committed and key not in own else f"{key or remote} of Git")
        yield from _remote_locations(file, repository, address, origin, opener)


def _remote_locations(
    file: LargeFile, repository: Repository, address: str, origin: str, opener: Opener
) -> Iterator[Location]:
    if (folder := _folder_of(address or origin, repository)) is not None:
        opener.remotes.check(str(folder), opener.source)
        yield Location(f"at the remote {redact(address or origin)}", path=_object_in(folder, file))
        return
    if _STORE_URL.match(address):
        yield from _stored(file, address.rstrip("/"), opener)
        return
    says = f"at the LFS server {redact(address or _derive(origin))}"
    yield Location(says, download=partial(_download, file, address, origin, repository, opener))


def _stored(file: LargeFile, address: str, opener: Opener) -> Iterator[Location]:
    for layout in _LAYOUTS:
        place = f"{address}/{layout.format(file.digest[:2], file.digest[2:4], file.digest)}"
        yield Location(f"at the LFS store {redact(place)}", download=partial(opener.fetch, place, {}))


def _download(file: LargeFile, address: str, origin: str, repository: Repository, opener: Opener, target: Path) -> bool:
    """Ask the server: the one that settings name, the one that the repository's host grants, the one that follows."""
    from pipeline.storage.large_files.lfs_server import LfsServer

    host = None if address else read_ssh_address(origin)
    if host:
        with suppress(socket.gaierror):  # a name that only the settings of SSH know
            opener.remotes.check(origin, opener.source)
    grant = ask_grant(host, repository) if host else None
    if grant:
        granted = Opener(opener.remotes, f"what {host.host} answers to 'git-lfs-authenticate'" if host else "")
        return LfsServer(grant.href, repository, granted, grant.headers).download(file, target)
    return LfsServer(address or _derive(origin), repository, opener).download(file, target)


def _committed_settings(file: LargeFile, repository: Repository) -> dict[str, str]:
    """Read ``.lfsconfig`` as of the pointer's commit, as far as it has a say."""
    content = (repository.read_path(file.at, ".lfsconfig") or b"").decode("utf-8", "replace")
    found = _read_settings(repository.ask("config", "--file", "-", "--list", "--null", stdin=content))
    return {name: value for name, value in found.items() if _COMMITTED.fullmatch(name)}


def _read_settings(listing: str) -> dict[str, str]:
    pairs = (entry.partition("\n") for entry in listing.split("\0") if entry)
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
