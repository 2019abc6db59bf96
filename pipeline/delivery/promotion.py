"""Promote and roll back: a person says which release an environment should have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipeline.delivery.deploying import DeploymentResult, Slot, go_live
from pipeline.delivery.platforms.target import Target
from pipeline.delivery.releases import Version, find_release, newest_releases
from pipeline.delivery.stages import Action, stages
from pipeline.errors import InputError
from pipeline.home import home, store_address
from pipeline.spec.files import find_environments
from pipeline.spec.loading.loading import load_spec
from pipeline.spec.loading.names import find_spec_of
from pipeline.storage.artifacts import open_store
from pipeline.storage.git.repository import Repository, open_repository
from pipeline.storage.git.tags import fetch_tags, settle


def promote(
    model: str, version: str, environment: str | None, *, why: str, who: str | None = None, root: Path | None = None
) -> DeploymentResult:
    """Make a release live in an environment, whatever was live there.

    Parameters
    ----------
    version : str
        Such as ``v1.2.0``.
    environment : str or None
        Name of the overlay; None for the only one that the model is in.
    who : str, optional
        The person who asked for it; by default the one that Git knows.
    root : Path, optional
        A folder of the repository that holds the spec; by default the current one.

    Raises
    ------
    InputError
        If there is no such model, release or environment, or no reason is given.
    ReleaseError, TransientError
        If Git cannot record it; then nothing has changed.
    DeploymentError
        If it was recorded, but cannot be made live.
    """
    slot = _open(model, environment, why, root)
    return _go_live(slot, version, "promote", why, who)


def rollback(
    model: str,
    to: str | None,
    environment: str | None,
    *,
    why: str,
    who: str | None = None,
    root: Path | None = None,
) -> DeploymentResult:
    """Make an earlier release live again; what is left is held until it is promoted, or a newer release comes.

    Parameters
    ----------
    to : str or None
        A version; None for the one that was live before.

    Raises
    ------
    InputError, ReleaseError, TransientError, DeploymentError
        As for `promote`; also if nothing was live before.
    """
    slot = _open(model, environment, why, root)
    return _go_live(slot, str(goal_of(slot, Version.parse(to) if to else None)), "rollback", why, who)


def _go_live(slot: Slot, version: str, action: Action, why: str, who: str | None) -> DeploymentResult:
    store = open_store(store_address(slot.target.state), slot.target.state)
    return go_live(slot, find_release(slot.repository, f"{slot.model}@{version}"), action, store, why=why, who=who)


def goal_of(slot: Slot, to: Version | None) -> Version:
    """Decide which version a rollback goes to."""
    standing, where = slot.standing(), f"{slot.model} in {slot.environment}"
    now, goal = standing.current, to or standing.before
    if now is None:
        raise InputError(f"rollback: found nothing live of {where}; expected a release ('modelrail run', 'promote')")
    if goal is None:
        raise InputError(
            f"rollback: found nothing live of {where} before v{now}; expected a version: {slot.model}@VERSION"
        )
    if goal >= now and goal not in standing.live[:-1]:
        raise InputError(
            f"rollback: found v{goal} while v{now} is live of {where}; expected an earlier version (or 'modelrail"
            f" promote {slot.model}@v{goal} --environment {slot.environment} --why …')"
        )
    return goal


def find_slot(
    repository: Repository, model: str, environment: str | None, specs: Mapping[str, Path] | None = None
) -> Slot:
    """Find a model's spec, and lay an environment over it.

    Parameters
    ----------
    environment : str or None
        Name of the overlay, or of the platform of the spec as it is; None for the only one that has a stage.
    specs : mapping, optional
        The spec of each model, where many are looked at: as `find_every_spec` finds them.
    """
    path = (specs or {}).get(model) or _spec_of(repository, model)
    plain = load_spec(path).spec
    default = plain.environment.platform
    if environment is None:
        environment = _only({each.environment for each in stages(repository, model)}, model) or default
    overlay = None if environment == default and environment not in find_environments(path) else environment
    spec = load_spec(path, overlay).spec if overlay else plain
    return Slot(repository, environment, Target(spec, overlay, home(repository.root)))


def _spec_of(repository: Repository, model: str) -> Path:
    """Find a model's spec where specs are, or where its newest release was made from."""
    newest, _ = newest_releases(repository, model, 1)
    return find_spec_of(model, repository.root, [repository.root / each.evidence.spec_path for each in newest])


def _only(environments: set[str], model: str) -> str | None:
    if len(environments) > 1:
        names = ", ".join(sorted(environments))
        raise InputError(f"found {model} in the environments {names}; expected --environment with one of them")
    return next(iter(environments), None)


def _open(model: str, environment: str | None, why: str, root: Path | None) -> Slot:
    if not why.strip():
        raise InputError("--why: found no reason; expected one, since it is kept in Git")
    slot = find_slot(open_repository(root or Path.cwd()), model, environment)
    if slot.spec.deploy.push_tags:
        settle(slot.repository)
        fetch_tags(slot.repository, f"{model}@v*", f"{model}#{slot.environment}#*")
    return slot
