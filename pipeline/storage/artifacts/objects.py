"""Artifacts in an object store."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
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
    parse_manifest,
    sha256_of,
)

_MOST_ONE_BY_ONE = 64
"""As many artifacts are asked for singly; for more, all of the store is listed once."""
_MOST = 10  # notes come and go while a listing is on its way
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
"""What file systems call the time at which a file was written."""


class ObjectStore(Store):
    """Artifacts in an object store that fsspec reaches, such as ``s3://bucket/folder``."""

    def __init__(self, address: str, cache: Path) -> None:
        super().__init__(cache)
        import fsspec  # only here: a folder needs no such library

        try:
            self.files, self.root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise StoreError(
                f"MODELRAIL_STORE: found '{address}', which cannot be opened ({error}); expected a folder or an address"
                " such as s3://bucket/folder (pip install 'modelrail[s3]')"
            ) from error
        self.cache = cache

    def find_all(self, keys: Sequence[str]) -> dict[str, Artifact]:  # noqa: D102
        sizes = self._list_all() if len(keys) > _MOST_ONE_BY_ONE else self._list_each(keys)
        manifests = [name for key in keys if (name := f"{self._folder(key)}/{MANIFEST}") in sizes]
        content = self._call("cat", manifests, on_error="omit") if manifests else {}
        found = {}
        for key in keys:
            folder = self._folder(key)
            manifest = parse_manifest(content.get(f"{folder}/{MANIFEST}"))
            if manifest is not None and all(
                sizes.get(f"{folder}/{name}") == file["bytes"] for name, file in manifest["files"].items()
            ):
                found[key] = Artifact(key, manifest["digest"], manifest, self)
        return found

    def _list_all(self) -> dict[str, int]:
        self._call("invalidate_cache")
        return {name: each["size"] for name, each in self._call("find", self.root, detail=True).items()}

    def _list_each(self, keys: Sequence[str]) -> dict[str, int]:
        sizes = {}
        for key in keys:
            with suppress(FileNotFoundError):
                listing = self._call("ls", self._folder(key), detail=True, refresh=True, may_be_missing=True)
                sizes.update({each["name"]: each["size"] for each in listing})
        return sizes

    def _put(self, key: str, folder: Path, manifest: Mapping[str, Any]) -> Artifact | None:
        if found := self.find(key):
            return found
        for name in manifest["files"]:
            self._call("put_file", str(folder / name), f"{self._folder(key)}/{name}")
        self._call("pipe_file", f"{self._folder(key)}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
        return None

    def _fetch_anew(self, artifact: Artifact, name: str) -> Path:
        path = self._path(artifact, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{name}.{uuid.uuid4().hex}")
        self._call("get_file", f"{self._folder(artifact.key)}/{name}", str(part))
        if sha256_of(part) != artifact.manifest["files"][name]["sha256"]:
            part.unlink()
            raise self._damaged(artifact, name)
        self._checked.add((artifact.key, name))
        return part.rename(path)

    def _set_aside(self, key: str) -> str:
        """Take the manifest away, so that there is no artifact, and this machine's copies of the files."""
        target = f"{self._folder(key)}/{DAMAGED}"
        with suppress(FileNotFoundError):  # another process was faster
            self._call("mv", f"{self._folder(key)}/{MANIFEST}", target, may_be_missing=True)
        shutil.rmtree(self.cache / key[:2] / key, ignore_errors=True)
        return target

    def write_note(self, name: str, content: bytes) -> None:  # noqa: D102
        self._call("pipe_file", f"{self.root}/{NOTES}/{name}", content)

    def notes(self, folder: str) -> dict[str, bytes]:  # noqa: D102
        root = f"{self.root}/{NOTES}"
        for _ in attempts(_MOST):
            self._call("invalidate_cache")
            found = self._call("find", f"{root}/{folder}")
            content = self._call("cat", found, on_error="omit") if found else {}
            if len(content) == len(found):  # else one went meanwhile, and what it said may stand in a new one
                return {name.rpartition(f"{root}/")[2]: content[name] for name in sorted(content)}
        raise StoreError(f"store: {root}/{folder}: found notes that cannot be read; expected to be allowed to")

    def remove_notes(self, folder: str) -> None:  # noqa: D102
        self._call("invalidate_cache")
        if found := self._call("find", f"{self.root}/{NOTES}/{folder}"):
            self._call("rm", found)

    def remove_note(self, name: str) -> None:  # noqa: D102
        self._remove_file(f"{self.root}/{NOTES}/{name}")

    def entries(self) -> list[Entry]:  # noqa: D102
        self._call("invalidate_cache")
        folders: dict[str, list[Mapping[str, Any]]] = {}
        for name, facts in self._call("find", self.root, detail=True).items():
            key = name.removeprefix(f"{self.root}/").split("/")[1:2]
            if key and KEY.fullmatch(key[0]) and name.startswith(self._folder(key[0])):
                folders.setdefault(key[0], []).append(facts)
        manifests = [f"{self._folder(key)}/{MANIFEST}" for key in folders]
        content = self._call("cat", manifests, on_error="omit") if manifests else {}
        return [
            Entry(
                key,
                sum(each["size"] for each in files),
                parse_manifest(content.get(f"{self._folder(key)}/{MANIFEST}")),
                max(filter(None, map(_written, files)), default=None),
            )
            for key, files in folders.items()
        ]

    def remove(self, key: str) -> None:  # noqa: D102
        folder = self._folder(key)
        self._remove_file(f"{folder}/{MANIFEST}")
        self._call("invalidate_cache")
        for name in self._call("find", folder):
            self._remove_file(name)
        shutil.rmtree(self.cache / key[:2] / key, ignore_errors=True)

    def _remove_file(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._call("rm_file", name, may_be_missing=True)

    def _call(self, name: str, *arguments: Any, may_be_missing: bool = False, **options: Any) -> Any:
        try:
            return getattr(self.files, name)(*arguments, **options)
        except Exception as error:  # every object store's client has errors of its own
            if may_be_missing and isinstance(error, FileNotFoundError):
                raise
            raise StoreError(f"store: {self.root}: {name} failed: {type(error).__name__}: {error}") from error

    def _folder(self, key: str) -> str:
        return f"{self.root}/{key[:2]}/{key}"

    def _drafts(self) -> Path:
        return Path(tempfile.gettempdir())


def _written(facts: Mapping[str, Any]) -> datetime | None:
    found = next((facts[name] for name in _TIMES if facts.get(name)), None)
    if isinstance(found, int | float):
        return datetime.fromtimestamp(found, UTC)
    if isinstance(found, str):
        found = datetime.fromisoformat(found)
    return found.astimezone(UTC) if isinstance(found, datetime) else None
