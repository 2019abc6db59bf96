"""What an artifact is, and what every store can do."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.errors import DamagedError, StoreError

MANIFEST = "manifest.json"
NOTES = "notes"
DAMAGED = "manifest.damaged.json"
"""What becomes of the manifest of an artifact whose bytes have changed, until the artifact is there anew."""
KEY = re.compile(r"[0-9a-f]{64}")


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
        """Find one of the files as a path on this machine.

        Its bytes are held against the manifest when this process first reads it, unless it wrote them itself.

        Raises
        ------
        StoreError
            If the artifact has no such file.
        DamagedError
            If its bytes are not what was published; then the store has set the artifact aside.
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


@dataclass(frozen=True)
class Entry:
    """What a store holds under a key, whole or not.

    Attributes
    ----------
    bytes : int
        Of all its files.
    manifest : dict or None
        None where there is none that can be read: then it is no artifact (yet, or any more).
    modified : datetime or None
        When the newest of its files was written (UTC); None where the store does not say.
    """

    key: str
    bytes: int
    manifest: Mapping[str, Any] | None
    modified: datetime | None


class Store(ABC):
    """Where artifacts are kept.

    Parameters
    ----------
    files : Path
        Folder in which this machine has the files of artifacts, or copies of them: ``ke/key/name``.
    """

    def __init__(self, files: Path) -> None:
        self._files = files
        self._checked: set[tuple[str, str]] = set()

    def find(self, key: str) -> Artifact | None:
        """Find the artifact, if the store has all of it."""
        return self.find_all([key]).get(key)

    @abstractmethod
    def find_all(self, keys: Sequence[str]) -> dict[str, Artifact]:
        """Find those of the artifacts of which the store has everything, by key."""

    def publish(self, key: str, folder: Path, facts: Mapping[str, Any]) -> Artifact:
        """Make a draft's files an artifact; if another process was faster, its artifact is given back."""
        manifest = describe(key, folder, facts)
        return self._put(key, folder, manifest) or Artifact(key, manifest["digest"], manifest, self)

    @abstractmethod
    def _put(self, key: str, folder: Path, manifest: Mapping[str, Any]) -> Artifact | None:
        """Publish a draft, its manifest last; return another process's artifact, if that one was faster."""

    def fetch(self, artifact: Artifact, name: str) -> Path:
        """Find a file of an artifact as a path on this machine."""
        path = self._path(artifact, name)
        return path if self._is_whole(artifact, name, path) else self._fetch_anew(artifact, name)

    def _path(self, artifact: Artifact, name: str) -> Path:
        return self._files / artifact.key[:2] / artifact.key / name

    @abstractmethod
    def _fetch_anew(self, artifact: Artifact, name: str) -> Path:
        """Get a file that is not on this machine, or has other bytes there than were published."""

    @abstractmethod
    def _set_aside(self, key: str) -> str:
        """Take a damaged artifact from under its key, and say where it is now."""

    def _is_whole(self, artifact: Artifact, name: str, path: Path) -> bool:
        """Hold a file's bytes against the manifest; once by this process, since an artifact never changes."""
        published = artifact.manifest["files"][name]
        if size_of(path) != published["bytes"]:
            return False
        if (artifact.key, name) in self._checked:
            return True
        if sha256_of(path) != published["sha256"]:
            return False
        self._checked.add((artifact.key, name))
        return True

    def _damaged(self, artifact: Artifact, name: str) -> DamagedError:
        """Set a damaged artifact aside, and say so."""
        facts = artifact.manifest
        step, partition = str(facts.get("step")), facts.get("partition")
        made = f"step '{step}'" + (f", partition '{partition}'" if partition else "")
        return DamagedError(
            f"store: {name} of artifact {artifact.key[:12]} ({made}) has other bytes than were published: a disk or a "
            f"copy has damaged it; it was set aside ({self._set_aside(artifact.key)}) and must be computed anew: run "
            "again",
            artifact.key,
            step,
            partition,
        )

    @abstractmethod
    def write_note(self, name: str, content: bytes) -> None:
        """Write a note: a small document next to the artifacts, under a name such as ``costs/m/2026-11-23/1.json``."""

    @abstractmethod
    def notes(self, folder: str) -> dict[str, bytes]:
        """Read every note below a folder: name → content, by name."""

    @abstractmethod
    def remove_notes(self, folder: str) -> None:
        """Remove every note below a folder."""

    @abstractmethod
    def remove_note(self, name: str) -> None:
        """Remove a note, if it is there."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """List everything that the store has, whole or not, in no order."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove what is there under a key, so that at no moment a part of it looks like an artifact."""

    @abstractmethod
    def _drafts(self) -> Path:
        """Return the folder, on this machine, where drafts are written."""

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """Yield an empty folder to write an artifact's files into; it is gone afterwards, published or not."""
        name, place = draft_name(), self._drafts()
        folder = place / name
        try:
            folder.mkdir(parents=True)
            yield folder
        except OSError as error:
            raise explain_full(error, place) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def draft_name() -> str:
    """Make a new name that says which process of which machine works there: several may share a mounted folder."""
    return f"{os.getpid()}-{uuid.uuid4().hex}-{socket.gethostname()}"


def describe(key: str, folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Build the manifest of a draft."""
    files: dict[str, dict[str, Any]] = {
        path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.iterdir())
        if path.name != MANIFEST
    }
    digest = digest_listing({name: file["sha256"] for name, file in files.items()})
    return {"key": key, "digest": digest, "files": files, **facts}


def digest_listing(digests: Mapping[str, str]) -> str:
    """Hash the names of files and the digests of their bytes, in their order: the digest of an artifact."""
    return hashlib.sha256("".join(f"{name} {digest}\n" for name, digest in digests.items()).encode()).hexdigest()


def parse_manifest(content: bytes | None) -> dict[str, Any] | None:
    """Read a manifest; a missing or cut-off one means that there is no artifact."""
    try:
        manifest = json.loads(content or b"")
    except ValueError:
        return None
    return manifest if isinstance(manifest, dict) and {"digest", "files"} <= manifest.keys() else None


def sha256_of(path: Path) -> str:
    """Compute the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(path: str | Path) -> int | None:
    """Read the size of a file; None if there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - asked tens of thousands of times
    except OSError:
        return None


def is_whole(folder: str, manifest: Mapping[str, Any]) -> bool:
    """Tell whether every file of a manifest is in a folder in its full size."""
    return all(size_of(f"{folder}/{name}") == file["bytes"] for name, file in manifest["files"].items())


def explain_full(error: OSError, place: Path) -> StoreError:
    """Say why writing to a place failed, and what mends it."""
    with suppress(OSError):
        free = shutil.disk_usage(place).free / 1e6
        return StoreError(
            f"store: writing to {place} failed: {error.strerror or error} ({free:,.0f} MB free);"
            " make room there, or set MODELRAIL_STORE to another place, and run again: what is done is kept"
        )
    return StoreError(f"store: writing to {place} failed: {error}; set MODELRAIL_STORE to a place that can be written")
