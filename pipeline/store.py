"""Artifacts: what steps made, addressed by the hash of all that produced it.

An artifact is a folder of plain files with a ``manifest.json``. It is published whole: written aside, then
named (a folder), or with its manifest last (an object store). So what has a manifest is complete, two
processes that publish the same key do no harm to each other, and a killed one leaves nothing under the key.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import InputError, StoreError, TransientError

MANIFEST = "manifest.json"
NOTES = "notes"
_MOST_ONE_BY_ONE = 64
"""As many artifacts are asked for singly in an object store; for more, all of it is listed once."""


@dataclass(frozen=True)
class Artifact:
    """One published artifact.

    Attributes
    ----------
    key : str
        Hash of all that produced it (64 hexadecimal digits).
    digest : str
        Hash of the files' names and bytes: what the next step's key is made of.
    manifest : dict
        Inputs, parameters, commits, rows, seconds, and each file's bytes and SHA-256.
    """

    key: str
    digest: str
    manifest: Mapping[str, Any]
    store: Store

    def file(self, name: str) -> Path:
        """Give one of the files as a path on this machine.

        Raises
        ------
        StoreError
            If the artifact has no such file, or its bytes are not what was published.
        """
        if name not in self.manifest["files"]:
            raise StoreError(f"store: artifact {self.key[:12]} has no file '{name}'; it has {', '.join(self.names)}")
        return self.store.fetch(self, name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files, sorted."""
        return tuple(sorted(self.manifest["files"]))

    def has(self, name: str) -> bool:
        """Tell whether the artifact has that file."""
        return name in self.manifest["files"]


class Store(ABC):
    """Where artifacts are kept."""

    def find(self, key: str) -> Artifact | None:
        """Give the artifact, if it is there whole."""
        return self.find_all([key]).get(key)

    @abstractmethod
    def find_all(self, keys: Sequence[str]) -> dict[str, Artifact]:
        """Give those of the artifacts that are there whole, by key."""

    @abstractmethod
    def publish(self, key: str, folder: Path, facts: Mapping[str, Any]) -> Artifact:
        """Make a draft's files an artifact; if another process was faster, its artifact is given back."""

    @abstractmethod
    def fetch(self, artifact: Artifact, name: str) -> Path:
        """Give a file of an artifact as a path on this machine."""

    @abstractmethod
    def write_note(self, name: str, content: bytes) -> None:
        """Keep a small document beside the artifacts, under a name such as ``costs/m/2026-11-23/1.json``."""

    @abstractmethod
    def notes(self, folder: str) -> dict[str, bytes]:
        """Give every note below a folder: name → content, by name."""

    @abstractmethod
    def remove_notes(self, folder: str) -> None:
        """Remove every note below a folder."""

    @abstractmethod
    def _drafts(self) -> Path:
        """Give the folder, on this machine, where drafts are written."""

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Give an empty folder to write an artifact's files into; it is gone afterwards, published or not."""
        folder = self._drafts() / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            raise _explain(error, self._drafts()) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class FolderStore(Store):
    """Artifacts in a folder of this machine, or of one that is mounted."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find_all(self, keys: Sequence[str]) -> dict[str, Artifact]:  # noqa: D102
        found = {}
        root = str(self.root)
        for key in keys:  # in plain strings: a path object for each would take longer than all the rest
            folder = f"{root}/{key[:2]}/{key}"
            manifest = _parse(_read(f"{folder}/{MANIFEST}"))
            if manifest is not None and all(
                _size(f"{folder}/{name}") == file["bytes"] for name, file in manifest["files"].items()
            ):
                found[key] = Artifact(key, manifest["digest"], manifest, self)
        return found

    def publish(self, key: str, folder: Path, facts: Mapping[str, Any]) -> Artifact:  # noqa: D102
        manifest = _describe(key, folder, facts)
        target = self._folder(key)
        try:
            (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._name(key, folder, target) or Artifact(key, manifest["digest"], manifest, self)
        except OSError as error:
            raise _explain(error, self.root) from error

    def _name(self, key: str, folder: Path, target: Path) -> Artifact | None:
        """Rename the draft to its key, unless a whole artifact came first; a damaged one is put aside."""
        for _ in range(100):
            try:
                folder.rename(target)
            except OSError:
                if found := self.find(key):
                    return found
                with suppress(FileNotFoundError):  # another process may be mending it too
                    target.rename(self._drafts() / f"{os.getpid()}-{uuid.uuid4().hex}")
            else:
                return None
        raise StoreError(f"store: {target} is neither a whole artifact nor replaceable; remove that folder")

    def fetch(self, artifact: Artifact, name: str) -> Path:  # noqa: D102
        return self._folder(artifact.key) / name

    def write_note(self, name: str, content: bytes) -> None:  # noqa: D102
        target = self.root / NOTES / name
        aside = self._drafts() / f"{os.getpid()}-{uuid.uuid4().hex}"
        try:
            aside.write_bytes(content)
            target.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(target)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise _explain(error, self.root) from error

    def notes(self, folder: str) -> dict[str, bytes]:  # noqa: D102
        root = self.root / NOTES
        names = (Path(place) / file for place, _, files in os.walk(root / folder) for file in files)
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(names)}

    def remove_notes(self, folder: str) -> None:  # noqa: D102
        shutil.rmtree(self.root / NOTES / folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove drafts that killed processes of this machine left behind."""
        for draft in self._drafts().glob("*-*"):
            if not _lives(draft.name.split("-")[0]):
                shutil.rmtree(draft, ignore_errors=True)
                draft.unlink(missing_ok=True)  # of a note

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _drafts(self) -> Path:
        drafts = self.root / "drafts"
        try:
            drafts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _explain(error, self.root) from error
        return drafts


class ObjectStore(Store):
    """Artifacts in an object store that fsspec reaches, such as ``s3://bucket/folder``."""

    def __init__(self, address: str, cache: Path) -> None:
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
            manifest = _parse(content.get(f"{folder}/{MANIFEST}"))
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

    def publish(self, key: str, folder: Path, facts: Mapping[str, Any]) -> Artifact:  # noqa: D102
        if found := self.find(key):
            return found
        manifest = _describe(key, folder, facts)
        for name in manifest["files"]:
            self._call("put_file", str(folder / name), f"{self._folder(key)}/{name}")
        self._call("pipe_file", f"{self._folder(key)}/{MANIFEST}", json.dumps(manifest, indent=1).encode())
        return Artifact(key, manifest["digest"], manifest, self)

    def fetch(self, artifact: Artifact, name: str) -> Path:  # noqa: D102
        expected = artifact.manifest["files"][name]
        local = self.cache / artifact.key[:2] / artifact.key / name
        if _size(local) == expected["bytes"]:
            return local
        local.parent.mkdir(parents=True, exist_ok=True)
        part = local.with_name(f"{name}.{uuid.uuid4().hex}")
        self._call("get_file", f"{self._folder(artifact.key)}/{name}", str(part))
        if (found := _sha256(part)) != expected["sha256"]:
            part.unlink()
            raise StoreError(
                f"store: {name} of artifact {artifact.key[:12]} has the digest {found[:12]};"
                f" expected {expected['sha256'][:12]}: delete {self._folder(artifact.key)} and run again"
            )
        return part.rename(local)

    def write_note(self, name: str, content: bytes) -> None:  # noqa: D102
        self._call("pipe_file", f"{self.root}/{NOTES}/{name}", content)

    def notes(self, folder: str) -> dict[str, bytes]:  # noqa: D102
        root = f"{self.root}/{NOTES}"
        self._call("invalidate_cache")
        found = self._call("find", f"{root}/{folder}")
        content = self._call("cat", found) if found else {}
        return {name.rpartition(f"{root}/")[2]: content[name] for name in sorted(content)}

    def remove_notes(self, folder: str) -> None:  # noqa: D102
        self._call("invalidate_cache")
        if found := self._call("find", f"{self.root}/{NOTES}/{folder}"):
            self._call("rm", found)

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


def open_store(address: str, state: Path) -> Store:
    """Open the store at a folder or an address.

    Parameters
    ----------
    address : str
        A folder's path, or an address with a scheme that fsspec knows.
    state : Path
        Where files of an object store are cached.
    """
    if "://" in address and not address.startswith("file://"):
        return ObjectStore(address, state / "cache")
    return FolderStore(Path(address.removeprefix("file://")).expanduser())


def download(address: str, target: Path, options: Mapping[str, Any]) -> bool:
    """Copy one file that is no artifact, such as ``s3://bucket/folder/x``; False if it is not there.

    Parameters
    ----------
    options : mapping
        For fsspec: where the service is, and credentials.

    Raises
    ------
    StoreError
        If the address cannot be opened.
    InputError
        If the service refuses to give it.
    TransientError
        If it does not answer, or breaks off.
    """
    import fsspec

    try:
        files, path = fsspec.core.url_to_fs(address, **options)
    except (ImportError, ValueError) as error:
        raise StoreError(
            f"{address}: cannot be opened ({error}); expected its library (pip install 'modelrail[s3]')"
        ) from error
    try:
        files.get_file(path, str(target))
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise InputError(f"{address}: reading it is refused ({error}); expected credentials that may") from error
    except Exception as error:  # every service's client has errors of its own
        raise TransientError(f"{address}: reading it failed: {type(error).__name__}: {error}; run again") from error
    return True


def put(address: str, content: bytes) -> None:
    """Write one file that is no artifact, such as ``s3://bucket/captures/x.jsonl``.

    Raises
    ------
    StoreError
        If the address cannot be opened or written.
    """
    folder, _, name = address.rpartition("/")
    store = ObjectStore(folder, Path(tempfile.gettempdir()))
    store._call("pipe_file", f"{store.root}/{name}", content)  # noqa: SLF001  # the same class's module


def _describe(key: str, folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    files = {
        path.name: {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    listing = "".join(f"{name} {file['sha256']}\n" for name, file in files.items())
    return {"key": key, "digest": hashlib.sha256(listing.encode()).hexdigest(), "files": files, **facts}


def _read(path: str) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return file.read()


def _parse(content: bytes | None) -> dict[str, Any] | None:
    """Read a manifest; a missing or cut-off one means that there is no artifact."""
    try:
        manifest = json.loads(content or b"")
    except ValueError:
        return None
    return manifest if isinstance(manifest, dict) and {"digest", "files"} <= manifest.keys() else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: str | Path) -> int | None:
    try:
        return os.stat(path).st_size  # noqa: PTH116 - asked tens of thousands of times
    except OSError:
        return None


def _lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def _explain(error: OSError, place: Path) -> StoreError:
    with suppress(OSError):
        free = shutil.disk_usage(place).free / 1e6
        return StoreError(
            f"store: writing to {place} failed: {error.strerror or error} ({free:,.0f} MB free);"
            " make room there, or set MODELRAIL_STORE to another place, and run again: what is done is kept"
        )
    return StoreError(f"store: writing to {place} failed: {error}; set MODELRAIL_STORE to a place that can be written")
