"""Jobs as commits have them: a spec at a revision, and what a release was made from. The work tree is not looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.errors import InputError
from pipeline.job import Job, RunRequest, SpecSource, resolve
from pipeline.past_specs import load_spec_at
from pipeline.release import Release
from pipeline.repository import Repository, is_url, open_repository
from pipeline.spec.schema import Spec


def open_job_at(request: RunRequest, revision: str) -> Job:
    """Resolve a request whose spec is that of a commit, and so are the data where they are in the same repository.

    Parameters
    ----------
    revision : str
        A branch, tag or commit of the repository that holds the spec; the file need not be in the work tree.

    Raises
    ------
    SpecError, InputError
        As for `open_job`.
    """
    path = Path(request.spec).absolute()
    repository = _repository_around(path)
    commit = repository.commit(revision).id
    name = repository.path_of(path)
    spec = load_spec_at(repository, commit, name, request.environment)
    data = request.data_commit or (commit if _is_own(spec, repository) else None)
    return resolve(replace(request, data_commit=data), SpecSource(spec, name, commit, repository))


def find_specs_at(folder: Path, revision: str) -> list[Path]:
    """List the specs of a commit that are in a folder."""
    repository = _repository_around(folder.absolute() / "any.yaml")
    place = repository.path_of(folder.absolute())
    files = (PurePosixPath(each.path) for each in repository.files(repository.commit(revision).id, place))
    found = [each for each in files if each.parent == PurePosixPath(place) and each.suffix in (".yaml", ".yml")]
    if not found:
        raise InputError(f"{folder}: found no spec in commit '{revision}'; expected one such as {folder}/my-model.yaml")
    return [repository.root / each for each in found]


def job_behind(release: Release, repository: Repository) -> Job:
    """Give the job that a release came from: its spec, and its partitions at their data commit.

    Raises
    ------
    SpecError
        If today's Modelrail refuses the spec.
    InputError
        If one of the commits is not here.
    """
    evidence = release.evidence
    spec = load_spec_at(repository, evidence.spec_commit, evidence.spec_path, evidence.environment)
    wanted = RunRequest(evidence.spec_path, evidence.environment, evidence.data_commit, evidence.as_of)
    return resolve(wanted, SpecSource(spec, evidence.spec_path, evidence.spec_commit, repository))


def _is_own(spec: Spec, repository: Repository) -> bool:
    """Tell whether the data are in the spec's repository, at the commit that is looked at."""
    if spec.data.files is None or spec.data.branch:
        return False
    address = spec.data.repository
    return address is None or (not is_url(address) and (repository.root / address).resolve() == repository.root)


def _repository_around(path: Path) -> Repository:
    return open_repository(next(_existing(path)))


def _existing(path: Path) -> Iterator[Path]:
    return (each for each in path.resolve().parents if each.is_dir())
