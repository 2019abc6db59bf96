"""The content of a large file: looked for place by place, checked against its digest, kept.

A download is written to a temporary file, which is renamed once its digest is right. So a killed download leaves no
file that could be taken for the content.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DataError
from pipeline.storage.git.repository import Repository
from pipeline.storage.large_files.dvc import dvc_locations
from pipeline.storage.large_files.lfs import lfs_locations
from pipeline.storage.large_files.locations import Location
from pipeline.storage.large_files.pointers import Kind, LargeFile, digest_of, read_listing
from pipeline.storage.large_files.remotes import Remotes
from pipeline.storage.regular_files import read_regular

_ABANDONED_S = 24 * 3600.0
_PUSH: Mapping[Kind, str] = {"Git LFS": "git lfs push --all origin", "DVC": "dvc push"}


@dataclass(frozen=True)
class _ContentCache:
    """Where contents from elsewhere are kept on this machine."""

    folder: Path

    def path(self, file: LargeFile) -> Path:
        return self.folder / file.algorithm / file.digest[:2] / file.digest

    def take(self, file: LargeFile, place: Location) -> bytes | None:
        """Download a content; None if it is not there. The wrong bytes are given back, and not kept."""
        target = self.path(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._sweep(target.parent)
        draft = target.with_name(f"{uuid.uuid4().hex}.part")
        try:
            if not place.download(draft):
                return None
            content = draft.read_bytes()
            if _is_right(file, content):
                draft.replace(target)
            return content
        finally:
            draft.unlink(missing_ok=True)

    def _sweep(self, folder: Path) -> None:
        for part in folder.glob("*.part"):
            with suppress(OSError):
                if time.time() - part.stat().st_mtime > _ABANDONED_S:
                    part.unlink()


def read_large(file: LargeFile, repository: Repository, state: Path, remotes: Remotes) -> bytes:
    """Read the content of a large file.

    Parameters
    ----------
    state : Path
        Below it downloads are kept.
    remotes : Remotes
        Where a content may come from.

    Raises
    ------
    DataError
        If no place has it, or what is there has another digest.
    InputError
        If it is at a place that it may not come from.
    TransientError
        If its remote does not answer.
    """
    cache, tried = _ContentCache(state / "cache" / "large-files"), list[str]()
    for place in (Location("", path=cache.path(file)), *_locations(file, repository, remotes)):
        content = read_regular(place.path) if place.path else cache.take(file, place)
        if content is not None and _is_right(file, content):
            return content
        if place.name:
            tried.append(place.name if content is None else f"{place.name}, where other bytes stand under its name")
        elif content is not None:
            cache.path(file).unlink()  # damaged on this machine: it is fetched again
    raise DataError(
        f"read: {file.path}: found no content {file.algorithm} {file.digest[:12]}…, which {file.pointer} names, "
        f"{', nor '.join(tried) or 'anywhere'}; expected it there: '{_PUSH[file.kind]}' in a clone that has it"
    )


def list_folder(folder: LargeFile, repository: Repository, state: Path, remotes: Remotes) -> Iterator[LargeFile]:
    """List the files of a folder that one DVC pointer stands for; errors as of ``read_large``."""
    return read_listing(read_large(folder, repository, state, remotes), folder)


def _locations(file: LargeFile, repository: Repository, remotes: Remotes) -> Iterator[Location]:
    locations = dvc_locations if file.kind == "DVC" else lfs_locations
    return locations(file, repository, remotes)


def _is_right(file: LargeFile, content: bytes) -> bool:
    return digest_of(content, file.algorithm) == file.digest.removesuffix(".dir")
