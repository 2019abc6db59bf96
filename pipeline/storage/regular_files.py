"""Files that somebody else names: only regular ones are opened, and links are followed only as far as a root."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pipeline.errors import DataError


def read_regular(path: Path) -> bytes | None:
    """Read a regular file; None if there is none. A device or a FIFO is never read: it might not end.

    Raises
    ------
    DataError
        If something else stands under the path.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a FIFO would wait
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DataError(f"{path}: found a device, a FIFO or a socket; expected a file")
        return file.read()


def read_below(root: Path, relative: str) -> bytes | None:
    """Read a regular file below a folder; None if there is none.

    Raises
    ------
    DataError
        If a link on the way leads out of the folder, or the file is not a regular one.
    """
    return read_regular(resolve_below(root, relative))


def resolve_below(root: Path, relative: str) -> Path:
    """Follow the links of a path below a folder.

    Raises
    ------
    DataError
        If one of them leads out of the folder.
    """
    real = Path(os.path.realpath(root / relative))
    if not real.is_relative_to(os.path.realpath(root)):
        raise DataError(
            f"{relative}: found a symbolic link that leads out of {root}; expected a link to a file in it, or the file"
        )
    return real
