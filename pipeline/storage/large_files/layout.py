"""Which files of a repository make a partition: the file of its rows, or several, and the images that they name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from pipeline.storage.git.partitions import folder_of, key_in
from pipeline.storage.git.repository import readable
from pipeline.storage.large_files.pointers import SUFFIX
from pipeline.storage.path_templates import below


@dataclass(frozen=True)
class Layout:
    """The templates of a spec: ``data.files``, and ``data.images`` where columns hold paths of images."""

    files: str
    images: str | None = None

    def key(self, path: str) -> str | None:
        """Find the key of the partition that a file is part of; None for a file that is not read."""
        found = self.key_of_rows(path)
        return found if found is not None or self.images is None else self.key_of_image(path)

    @cached_property
    def key_of_rows(self) -> Callable[[str], str | None]:
        """Path of a file with rows → its partition's key."""
        return key_in(self.files)

    @cached_property
    def key_of_image(self) -> Callable[[str], str | None]:
        """Path of an image → the key of the partition whose rows may name it: that with the same ``{names}``."""
        pattern, alone = below(self.images or ""), PurePosixPath(self.files).name

        def key(path: str) -> str | None:
            match = pattern.match(path)
            return match and readable("/".join(match.groups()) or alone)

        return key

    @property
    def places(self) -> list[str]:
        """Name the places in a repository that may hold any of it: folders, and pointers that may stand for them."""
        folder = folder_of(self.files)
        parts = folder.split("/") if folder else []
        pointers = ["/".join(parts[: place + 1]) + SUFFIX for place in range(len(parts))]
        return [folder, *pointers, *([folder_of(f"{self.images}/{{image}}")] if self.images else [])]
