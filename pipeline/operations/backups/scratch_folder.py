"""A scratch folder next to the target: something is made there, then renamed to the target when it is whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NEW_S = 60.0
"""A folder this young may not be locked yet by the one that has just made it."""


@contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """Yield a scratch folder next to the target; it is removed afterwards, as are those of killed processes."""
    _sweep(parent, prefix)
    folder = parent / f"{prefix}{uuid.uuid4().hex[:12]}"
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what killed processes have left: nobody holds the lock of such a folder any more."""
    now = time.time()
    for folder in parent.glob(f"{prefix}{'[0-9a-f]' * 12}"):
        with suppress(OSError):
            if now - folder.stat().st_mtime < _NEW_S:
                continue
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
            finally:
                os.close(descriptor)
