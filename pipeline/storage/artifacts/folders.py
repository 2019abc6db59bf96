"""Artifacts in a folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.errors import StoreError
from pipeline.retries import attempts
from pipeline.storage.artifacts.artifact import (
    DAMAGED,
    KEY,
    MANIFEST,
    NOTES,
    Artifact,
    Entry,
    Store,
    draft_name,
    explain_full,
    is_whole,
    parse_manifest,
)

_MOST = 100  # a rename takes microseconds, and all the workers of a run may be at it


class FolderStore(Store):
    """Artifacts in a folder of this machine, or of one that is mounted."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root

    def find_all(self, keys: Sequence[str]) -> dict[str, Artifact]:  # noqa: D102
        found = {}
        root = str(self.root)
        for key in keys:  # in plain strings: a path object for each would take longer than all the rest
            folder = f"{root}/{key[:2]}/{key}"
            manifest = parse_manifest(_read(f"{folder}/{MANIFEST}"))
            if manifest is not None and is_whole(folder, manifest):
                found[key] = Artifact(key, manifest["digest"], manifest, self)
        return found

    def _put(self, key: str, folder: Path, manifest: Mapping[str, Any]) -> Artifact | None:
        target = self._folder(key)
        try:
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
            target.parent.mkdir(parents=True, exist_ok=True)
            faster = self._name(key, folder, target)
        except OSError as error:
            raise explain_full(error, self.root) from error
        if faster is None:  # this process has just hashed what it wrote
            self._checked |= {(key, name) for name in manifest["files"]}
        return faster

    def _name(self, key: str, folder: Path, target: Path) -> Artifact | None:
        """Rename the draft to its key, unless a whole artifact came first; a damaged one is put aside."""
        for _ in attempts(_MOST):
            try:
                folder.rename(target)
            except OSError:
                if found := self.find(key):
                    return found
                with suppress(FileNotFoundError):  # another process may be mending it too
                    target.rename(self._drafts() / draft_name())
            else:
                return None
        raise StoreError(f"store: {target} is neither a whole artifact nor replaceable; remove that folder")

    def _fetch_anew(self, artifact: Artifact, name: str) -> Path:
        raise self._damaged(artifact, name)

    def _set_aside(self, key: str) -> str:
        """Take the manifest away, so that there is no artifact; others may still be reading the files."""
        folder = self._folder(key)
        with suppress(FileNotFoundError):  # another process was faster
            (folder / MANIFEST).rename(folder / DAMAGED)
        return str(folder / DAMAGED)

    def write_note(self, name: str, content: bytes) -> None:  # noqa: D102
        target = self.root / NOTES / name
        draft = self._drafts() / draft_name()
        try:
            draft.write_bytes(content)
            target.parent.mkdir(parents=True, exist_ok=True)
            draft.rename(target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise explain_full(error, self.root) from error

    def notes(self, folder: str) -> dict[str, bytes]:  # noqa: D102
        root = self.root / NOTES
        for _ in attempts(_MOST):
            names = sorted(Path(place) / file for place, _, files in os.walk(root / folder) for file in files)
            content = {path.relative_to(root).as_posix(): _read(str(path)) for path in names}
            found = {name: each for name, each in content.items() if each is not None}
            if len(found) == len(content):  # else one went meanwhile, and what it said may stand in a new one
                return found
        raise StoreError(f"store: {root / folder}: found notes removed faster than they can be read; run again")

    def remove_notes(self, folder: str) -> None:  # noqa: D102
        shutil.rmtree(self.root / NOTES / folder, ignore_errors=True)

    def remove_note(self, name: str) -> None:  # noqa: D102
        (self.root / NOTES / name).unlink(missing_ok=True)

    def entries(self) -> list[Entry]:  # noqa: D102
        folders = (each for place in _scan(self.root) if len(place.name) == 2 for each in _scan(place.path))
        return [_entry(each.path, each.name) for each in folders if KEY.fullmatch(each.name)]

    def remove(self, key: str) -> None:  # noqa: D102
        removed = self._drafts() / draft_name()
        try:
            self._folder(key).rename(removed)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"store: removing {self._folder(key)} failed: {error.strerror or error}") from error
        shutil.rmtree(removed, ignore_errors=True)  # what is left after a kill, the next run sweeps

    def sweep(self) -> None:
        """Remove drafts that killed processes of this machine left behind."""
        for draft in self._drafts().glob("*-*-*"):
            pid, _, machine = draft.name.split("-", 2)
            if machine == socket.gethostname() and not process_lives(pid):
                shutil.rmtree(draft, ignore_errors=True)
                draft.unlink(missing_ok=True)  # of a note

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _drafts(self) -> Path:
        drafts = self.root / "drafts"
        try:
            drafts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_full(error, self.root) from error
        return drafts


def _scan(place: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(place) as found:
            return [each for each in found if each.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _entry(folder: str, key: str) -> Entry:
    with suppress(FileNotFoundError), os.scandir(folder) as files:
        stats = [each.stat() for each in files]
        newest = max([os.stat(folder).st_mtime, *(each.st_mtime for each in stats)])  # noqa: PTH116 - as in `size_of`
        manifest = parse_manifest(_read(f"{folder}/{MANIFEST}"))
        return Entry(key, sum(each.st_size for each in stats), manifest, datetime.fromtimestamp(newest, UTC))
    return Entry(key, 0, None, datetime.now(UTC))  # it went meanwhile


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return file.read()


def process_lives(pid: str) -> bool:
    """Tell whether a process of this machine lives."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
