"""Companion files of the spec, as they were when it was loaded."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from pipeline.errors import InputError
from pipeline.runs.job import Job


def read_companion_file(job: Job, name: str, digest: str) -> bytes:
    """Read a companion file of the spec: the work tree's if it has that digest, else that of the spec's commit.

    Parameters
    ----------
    name : str
        Path from the spec's folder.
    digest : str
        SHA-256 of its content.

    Raises
    ------
    InputError
        It has changed since the spec was loaded, and was never committed.
    """
    path = (PurePosixPath(job.spec_path).parent / name).as_posix()
    here = job.repository.root / path
    content = here.read_bytes() if here.is_file() else None
    if content is not None and _is(content, digest):
        return content
    content = job.repository.read_path(job.spec_commit, path) if job.spec_commit else None
    if content is None or not _is(content, digest):
        raise InputError(f"{path}: found another content than when the spec was read; expected no change meanwhile")
    return content


def _is(content: bytes, digest: str) -> bool:
    return hashlib.sha256(content).hexdigest() == digest
