"""Where DVC keeps contents: in the clone's cache, and at the remote that its configuration names.

https://dvc.org/doc/user-guide/project-structure/configuration
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, redact
from pipeline.storage.git.repository import Repository
from pipeline.storage.large_files.locations import Location
from pipeline.storage.large_files.opening import Opener
from pipeline.storage.large_files.pointers import LargeFile
from pipeline.storage.large_files.remotes import Remotes
from pipeline.storage.regular_files import read_regular

_LAYOUTS: Mapping[str, tuple[str, ...]] = {"md5": ("files/md5/", ""), "md5-dos2unix": ("", "files/md5/")}
"""Where a content is below the root: since DVC 3, and before; pointers of either may have been moved to the other's."""

_S3: Mapping[str, tuple[str, ...]] = {
    "access_key_id": ("key",),
    "secret_access_key": ("secret",),
    "session_token": ("token",),
    "profile": ("profile",),
    "endpointurl": ("client_kwargs", "endpoint_url"),
    "region": ("client_kwargs", "region_name"),
}
"""Option of an S3 remote → where fsspec's S3 takes it."""


@dataclass(frozen=True)
class _Config:
    """The sections of ``.dvc/config``, with those of ``config.local`` on top."""

    sections: Mapping[str, Mapping[str, str]]
    folder: Path | None
    """``.dvc`` on this machine; None where there is no work tree."""
    place: str
    """``.dvc`` in the repository."""

    def get(self, section: str, key: str) -> str:
        return self.sections.get(section, {}).get(key, "")


def dvc_locations(file: LargeFile, repository: Repository, remotes: Remotes) -> Iterator[Location]:
    """Yield the places that may have a content, the nearest first.

    Raises
    ------
    InputError
        If the remote is not configured, or by a path that leads nowhere from here, or contents may not come from it.
    """
    config = _read_config(file, repository)
    if config.folder is not None:
        cache = config.folder / (config.get("cache", "dir") or "cache")
        if config.get("cache", "dir"):
            remotes.check(str(cache), f"{config.place}/config")
        for layout in _LAYOUTS[file.algorithm]:
            yield Location(f"in {cache}", path=cache / f"{layout}{file.digest[:2]}/{file.digest[2:]}")
    name = file.remote or config.get("core", "remote")
    if not name:
        yield Location("at a remote, for none is configured (.dvc/config, core.remote)")
        return
    options = config.sections.get(f'remote "{name}"', {})
    if not options.get("url"):
        raise InputError(
            f".dvc/config: found no remote '{name}', which {file.pointer} needs; expected its url: "
            f"'dvc remote add {name} URL', and commit"
        )
    opener = Opener(remotes, f"{config.place}/config: remote '{name}'")
    yield from _remote_locations(name, options, file, config, opener)


def _remote_locations(
    name: str, options: Mapping[str, str], file: LargeFile, config: _Config, opener: Opener
) -> Iterator[Location]:
    url = options["url"].removeprefix("file://").rstrip("/")
    for layout in _LAYOUTS[file.algorithm]:
        address = f"{url}/{layout}{file.digest[:2]}/{file.digest[2:]}"
        says = f"at the DVC remote '{name}' ({redact(address)})"
        if "://" in url:
            yield Location(says, download=partial(opener.fetch, address, _fsspec_options(url, options)))
        else:
            path = _resolve(address, name, config)
            opener.remotes.check(str(path), opener.source)
            yield Location(says, path=path)


def _resolve(address: str, name: str, config: _Config) -> Path:
    """Follow a path, which begins at the configuration's own folder."""
    path = Path(address).expanduser()
    if path.is_absolute():
        return path
    if config.folder is None:
        raise InputError(
            f".dvc/config: found the path '{address}' of remote '{name}', which begins at a work tree, and here is a "
            "mirror without one; expected an absolute path or an address such as s3://bucket/folder (dvc remote modify)"
        )
    return config.folder / path


def _fsspec_options(url: str, options: Mapping[str, str]) -> dict[str, Any]:
    if not url.startswith("s3://"):
        return {}
    found: dict[str, Any] = {}
    for name, path in _S3.items():
        if value := options.get(name):
            place = found if len(path) == 1 else found.setdefault(path[0], {})
            place[path[-1]] = value
    return found


def _read_config(file: LargeFile, repository: Repository) -> _Config:
    """Read the configuration of the nearest folder above a pointer that has one, as of the pointer's commit."""
    folder = posixpath.dirname(file.pointer)
    while True:
        place = posixpath.join(folder, ".dvc")
        committed = repository.read_path(file.at, f"{place}/config")
        if committed is not None or not folder:
            break
        folder = posixpath.dirname(folder)
    here = None if repository.bare else repository.root / place
    local = here / "config.local" if here else None
    texts = [(committed or b"").decode(), ((read_regular(local) if local else None) or b"").decode()]
    return _Config(_merge(texts, place), here, place)


def _merge(texts: list[str], place: str) -> dict[str, dict[str, str]]:
    import configparser

    sections: dict[str, dict[str, str]] = {}
    for text in texts:
        parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=("=",))
        try:
            parser.read_string(text)
        except configparser.Error as error:
            raise InputError(
                f"{place}/config: found a line that is no setting; expected what 'dvc config' writes"
            ) from error
        for name in parser.sections():
            values = {key: value.strip("\"'") for key, value in parser.items(name)}
            sections.setdefault(name.strip("'"), {}).update(values)
    return sections
