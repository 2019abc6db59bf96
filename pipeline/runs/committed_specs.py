"""Specs as commits have them. The work tree is not read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.answers import remembered
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
    question = ("spec", repository.root, commit, path, environment)
    return remembered(question, lambda: _load_spec_at(repository, commit, path, environment))


def _load_spec_at(repository: Repository, commit: str, path: str, environment: str | None) -> Spec:
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
    try:
        folders = _by_folder(repository, repository.resolve(commit))
    except InputError as error:
        raise InputError(f"{error}{explain_shallow(repository)}") from error
    beside = dict.fromkeys((f"{wanted.parent / 'environments'}", f"{wanted.parent.parent / 'environments'}"))
    found = [each for each in folders.get(str(wanted.parent), ()) if each.path == path]
    found += [each for place in beside for each in folders.get(place, ())]
    found += _companions(folders, found, wanted.parent, repository)
    if not any(each.path == path for each in found):
        raise InputError(f"{repository.root}: found no {path} in commit {commit[:12]}; expected the spec there")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        for each in found:
            target = folder / each.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(repository.read(each))
        yield folder, folder / path


def _by_folder(repository: Repository, commit: str) -> Mapping[str, Sequence[File]]:
    """Part the files of a commit by the folder that they lie in; that at the top is called ``.``."""

    def part() -> Mapping[str, Sequence[File]]:
        folders: dict[str, list[File]] = {}
        for each in repository.files(commit):
            folders.setdefault(each.path.rpartition("/")[0] or ".", []).append(each)
        return folders

    return remembered(("folders", repository.root, commit), part)


def _companions(
    folders: Mapping[str, Sequence[File]], found: Sequence[File], folder: PurePosixPath, repository: Repository
) -> list[File]:
    """List the files below the spec's folder that its text, or its environments', may name; a network has a default."""
    said = b"\n".join(repository.read(each) for each in found) + b"network.py train.py requirements.txt"
    known = {each.path for each in found}
    top = "" if str(folder) == "." else f"{folder}/"
    below = (each for place, files in folders.items() if f"{place}/".startswith(top) for each in files)
    unsaid = tuple(ending for ending in (".yaml", ".yml") if ending.encode() not in said)  # thousands of other specs
    likely = (each for each in below if not each.path.endswith(unsaid))
    return [each for each in likely if each.path[len(top) :].encode() in said and each.path not in known]


def explain_shallow(repository: Repository) -> str:
    """Say what mends a commit that is missing because the clone was cut off; empty if it was not."""
    shallow = repository.ask("rev-parse", "--is-shallow-repository").strip() == "true"
    return "; this clone is shallow: 'git fetch --unshallow' gets the rest" if shallow else ""


def _name(file: str, folder: Path, commit: str) -> str:
    return f"{commit[:10]}:{Path(file).resolve().relative_to(folder).as_posix()}"
