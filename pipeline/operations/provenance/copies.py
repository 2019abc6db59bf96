"""Clean copies of a release's repositories, at its commits and without anything that came later."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline.delivery.releases import Evidence, Release, releases
from pipeline.delivery.stages import stages
from pipeline.errors import InputError, ModelrailError
from pipeline.home import home
from pipeline.operations.provenance.code import code_checkout, commit_of, has_changes
from pipeline.operations.provenance.sources import OWN
from pipeline.runs.committed_specs import explain_shallow, load_spec_at
from pipeline.runs.job import BUILT_IN
from pipeline.storage.git.credentials import without_login
from pipeline.storage.git.mirrors import is_url, mirror_folder
from pipeline.storage.git.repository import Repository, open_repository

_ANY_COMMIT = "--upload-pack=git -c uploadpack.allowAnySHA1InWant=true upload-pack"
STATE = "state"


def copy_specs(repository: Repository, release: Release, folder: Path) -> Path:
    """Copy the specs' repository, with the tags that existed before the release: they decide who was champion then.

    Data that are named by a path in or next to the repository are copied to the same place.

    Returns
    -------
    Path
        The copy's work tree.
    """
    evidence = release.evidence
    address = _data_address(repository, evidence)
    ups = PurePosixPath(address).parts.count("..") if address else 0
    target = folder.joinpath(*["in"] * ups, "specs")
    _copy(repository, target, evidence.spec_commit, _earlier_tags(repository, release))
    if address is not None and evidence.data_commit != BUILT_IN:
        _copy_data(repository, evidence, address, target, folder / STATE)
    return target


def copy_code(code: str, folder: Path) -> tuple[Path | None, str]:
    """Copy the code that made a release.

    Returns
    -------
    Path or None
        The copy; None where the installed code must do.
    str
        What a reader must know of it; empty if it is the very code.
    """
    checkout, commit = code_checkout(), commit_of(code)
    if commit is None:
        return None, f"the release was made by {code}, which names no commit: the installed code is run"
    if checkout is None:
        return None, f"the release was made by {code}; there is no checkout of it here: the installed code is run"
    try:
        _copy(checkout, folder / "code", checkout.resolve(commit))
    except ModelrailError as error:
        return None, f"the release was made by {code}: {error}; today's code is run"
    changed = f"the release was made by {code}: its changes are in no commit, so they are missing here"
    return folder / "code", changed if has_changes(code) else ""


def _data_address(repository: Repository, evidence: Evidence) -> str | None:
    """Read ``data.repository`` as the release's spec has it; None for the specs' own."""
    if evidence.data_repository in (OWN, BUILT_IN):
        return None
    try:
        return load_spec_at(repository, evidence.spec_commit, evidence.spec_path, evidence.environment).data.repository
    except InputError:  # today's Modelrail refuses the spec; the evidence has the address without a login
        return evidence.data_repository


def _copy_data(repository: Repository, evidence: Evidence, address: str, target: Path, state: Path) -> None:
    if is_url(address):
        kept = mirror_folder(address, home(repository.root))
        if (kept / "HEAD").exists() and Repository(kept, bare=True).holds(evidence.data_commit):
            _copy(Repository(kept, bare=True), mirror_folder(address, state), evidence.data_commit, bare=True)
        return  # else the copy's first step clones it
    place = Path(address).expanduser()
    if place.is_absolute():
        return  # read where it is: nothing is written there
    source = repository.root / place
    if not source.is_dir():
        raise InputError(f"rebuild: found no folder {source}; expected the data repository (data.repository)")
    _copy(open_repository(source), target / place, evidence.data_commit, checkout=False)


def _copy(
    source: Repository,
    target: Path,
    commit: str,
    tags: Sequence[str] = (),
    *,
    bare: bool = False,
    checkout: bool = True,
) -> None:
    """Copy one commit with its history, and some tags; nothing else of the repository is copied."""
    if not source.holds(commit):
        raise InputError(
            f"rebuild: found no commit {commit[:12]} in {source.root}; expected it there: 'git fetch' it"
            f"{explain_shallow(source)}"
        )
    target.mkdir(parents=True)
    source.ask("init", "--quiet", *(["--bare"] if bare else []), str(target))
    made = Repository(target, bare=bare)
    refs = [f"+refs/tags/{name}:refs/tags/{name}" for name in tags]
    kept = [f"{commit}:refs/heads/rebuilt"]
    made.ask("fetch", "--quiet", "--no-tags", "--update-head-ok", _ANY_COMMIT, str(source.root), *kept, *refs)
    made.ask("symbolic-ref", "HEAD", "refs/heads/rebuilt")
    origin = source.attempt("remote", "get-url", "origin").output or str(source.root)
    made.ask("remote", "add", "origin", without_login(origin)[0])
    if (contents := source.common_folder() / "lfs").is_dir():
        made.ask("config", "lfs.storage", str(contents))  # contents of large files, which are checked on every read
    if checkout and not bare:
        made.ask("reset", "--quiet", "--hard")


def _earlier_tags(repository: Repository, release: Release) -> list[str]:
    """Name the releases and stages of the model that there were when a release was made."""
    known = [each for each in releases(repository, release.model) if each.version < release.version]
    versions = {each.version for each in known}
    assigned = [each for each in stages(repository, release.model) if each.version in versions]
    made = release.date
    before = [each for each in assigned if made is None or each.date is None or each.date <= made]
    return [*(each.tag for each in known), *(each.tag for each in before)]
