"""Specs as commits have them. The work tree is not read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import InputError, SpecError
from pipeline.spec.files import find_overlay
from pipeline.spec.loading.documents import read_document
from pipeline.spec.loading.loading import load_spec, merge
from pipeline.spec.schema.spec import Spec
from pipeline.storage.git.repository import File, Repository


def load_spec_at(repository: Repository, commit: str, path: str, environment: str | None) -> Spec:
    """Load a spec as a commit has it.

    Parameters
    ----------
    path : str
        Of the spec in its repository.

    Raises
    ------
    SpecError
        If today's Modelrail refuses it; places are named ``COMMIT:PATH``.
    InputError
        If the commit, or the file in it, is not there.
    """
    with _laid_out(repository, commit, path) as (folder, file):
        try:
            return load_spec(file, environment).spec
        except SpecError as error:
            raise SpecError([replace(each, file=_name(each.file, folder, commit)) for each in error.problems]) from None


def read_spec_at(repository: Repository, commit: str, path: str, environment: str | None) -> dict[str, Any]:
    """Read what a spec of a commit says, the environment laid over it, whether or not it is valid today."""
    with _laid_out(repository, commit, path) as (_, file):
        overlay = None if environment is None else read_document(find_overlay(file, environment)).data
        return merge(read_document(file).data or {}, overlay or {})


@contextmanager
def _laid_out(repository: Repository, commit: str, path: str) -> Iterator[tuple[Path, Path]]:
    """Write the spec and the environments of a commit into a folder, as they lie in the repository."""
    wanted = PurePosixPath(path)
    places = {wanted, wanted.parent / "environments", wanted.parent.parent / "environments"}
    try:
        files = repository.files(repository.resolve(commit))
    except InputError as error:
        raise InputError(f"{error}{explain_shallow(repository)}") from error
    found = [each for each in files if places & {PurePosixPath(each.path), PurePosixPath(each.path).parent}]
    found += _companions(files, found, wanted.parent, repository)
    if not any(each.path == path for each in found):
        raise InputError(f"{repository.root}: found no {path} in commit {commit[:12]}; expected the spec there")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        for each in found:
            target = folder / each.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(repository.read(each))
        yield folder, folder / path


def _companions(
    files: Sequence[File], found: Sequence[File], folder: PurePosixPath, repository: Repository
) -> list[File]:
    """List the files below the spec's folder that its text, or its environments', may name; a network has a default."""
    said = b"\n".join(repository.read(each) for each in found) + b"network.py train.py requirements.txt"
    below = [each for each in files if each not in found and PurePosixPath(each.path).is_relative_to(folder)]
    return [each for each in below if str(PurePosixPath(each.path).relative_to(folder)).encode() in said]


def explain_shallow(repository: Repository) -> str:
    """Say what mends a commit that is missing because the clone was cut off; empty if it was not."""
    shallow = repository.ask("rev-parse", "--is-shallow-repository").strip() == "true"
    return "; this clone is shallow: 'git fetch --unshallow' gets the rest" if shallow else ""


def _name(file: str, folder: Path, commit: str) -> str:
    return f"{commit[:10]}:{Path(file).resolve().relative_to(folder).as_posix()}"
