"""Where the content of a large file may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def _nothing(_: Path) -> bool:
    return False


@dataclass(frozen=True)
class Location:
    """One location that may have a content.

    Attributes
    ----------
    name : str
        For messages, with its preposition: ``at the DVC remote 'x' (s3://…)``.
    path : Path or None
        Of the content, where it is on this machine and needs no copy.
    download : callable
        Writes it to a path; False if it is not there.
    """

    name: str
    path: Path | None = None
    download: Callable[[Path], bool] = _nothing
