"""Jobs as commits have them: a spec at a revision, and what a release was made from. The work tree is not read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

from pipeline.delivery.releases import Release
from pipeline.errors import InputError
from pipeline.runs.committed_specs import load_spec_at
from pipeline.runs.job import Job, SpecSource, open_job, repository_around, resolve
from pipeline.runs.request import RunRequest
from pipeline.storage.git.repository import Repository


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
    return open_job(replace(request, spec_commit=revision))


def find_specs_at(folder: Path, revision: str) -> list[Path]:
    """List the specs of a commit that are in a folder."""
    repository = repository_around(folder.absolute() / "any.yaml")
    place = repository.path_of(folder.absolute())
    files = (PurePosixPath(each.path) for each in repository.files(repository.resolve(revision), place))
    found = [each for each in files if each.parent == PurePosixPath(place) and each.suffix in (".yaml", ".yml")]
    if not found:
        raise InputError(f"{folder}: found no spec in commit '{revision}'; expected one such as {folder}/my-model.yaml")
    return [repository.root / each for each in found]


def job_behind(release: Release, repository: Repository) -> Job:
    """Rebuild the job that a release came from: its spec, and its partitions at their data commit.

    Raises
    ------
    SpecError
        If today's Modelrail refuses the spec.
    InputError
        If one of the commits is not here.
    """
    source = _source_of(release, repository)
    evidence = release.evidence
    wanted = RunRequest(evidence.spec_path, evidence.environment, evidence.data_commit, evidence.as_of)
    return resolve(wanted, source)


def job_with_newer_data(release: Release, repository: Repository, data_commit: str | None = None) -> Job:
    """Rebuild the job that a release came from, with all partitions of another data commit: by default the newest.

    Raises
    ------
    SpecError, InputError, TransientError
        As for `job_behind`; also if the newest commit cannot be asked for.
    """
    source = _source_of(release, repository)
    evidence = release.evidence
    commit = data_commit or source.spec.data.branch or "HEAD"
    return resolve(RunRequest(evidence.spec_path, evidence.environment, commit), source)


def _source_of(release: Release, repository: Repository) -> SpecSource:
    evidence = release.evidence
    spec = load_spec_at(repository, evidence.spec_commit, evidence.spec_path, evidence.environment)
    return SpecSource(spec, evidence.spec_path, evidence.spec_commit, repository)
