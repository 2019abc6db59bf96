"""Artifacts: what steps made, addressed by the hash of all that produced it.

An artifact is a folder of plain files with a ``manifest.json``. It is published whole: written to a draft folder,
then renamed; in an object store, its manifest is written last. So what has a manifest is complete. Two processes may
publish the same key at once, and a killed one leaves nothing under it.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.storage.artifacts.artifact import Artifact, Entry, Store, digest_listing
from pipeline.storage.artifacts.folders import FolderStore
from pipeline.storage.artifacts.transfers import download

__all__ = ["Artifact", "Entry", "FolderStore", "Store", "digest_listing", "download", "open_store"]


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
        from pipeline.storage.artifacts.objects import ObjectStore  # a folder needs none of it

        return ObjectStore(address, state / "cache")
    return FolderStore(Path(address.removeprefix("file://")).expanduser())
